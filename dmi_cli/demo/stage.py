"""The demo's stage: a scratch folder, three programs, their addresses, and how they start."""

import asyncio
import socket
from pathlib import Path

from dmi_cli.demo.plant import write_plant
from dmi_cli.demo.processes import Program
from dmi_cli.demo.snapshot import Node
from dmi_cli.demo.view import View

__all__ = ["Stage"]


class Stage:
    """Starts the simulator, the manager and the mapper, each when the one before is ready."""

    def __init__(self, protocol: str, scratch: Path, node: Node, view: View) -> None:
        self.programs: dict[str, Program] = {}
        self._protocol = protocol
        self._scratch = scratch
        self._node = node
        self._view = view

    async def build(self, group: asyncio.TaskGroup) -> None:
        """Start everything.

        Raises:
            UnavailableError: A program did not come up.
            ConfigError: The plant's device files are missing.
        """
        scratch, protocol = self._scratch, self._protocol
        simulator = await self._start(
            group, "simulator", ["simulate", protocol, "--port", str(_free_port()), "--ready-json"]
        )
        devices = scratch / "devices"
        devices.mkdir(exist_ok=True)
        write_plant(devices, int(simulator["port"]))
        sock, api = scratch / "dmi.sock", f"127.0.0.1:{_free_port()}"
        manager = await self._start(
            group,
            "manager",
            [
                *("manager", "--ready-json", "--data-dir", str(scratch / "manager")),
                *("--socket", str(sock), "--api", api, "--devices", str(devices)),
            ],
        )
        self._node.manager_url = manager["api"]
        mapper = await self._start(
            group,
            "mapper",
            [
                *("mapper", protocol, "--ready-json", "--manager-socket", str(sock)),
                *("--rest", f"127.0.0.1:{_free_port()}"),
            ],
        )
        self._node.mapper_url = mapper["rest"]
        self._say_addresses()

    async def tear_down(self) -> None:
        """Stop what was started, the latest first."""
        for program in reversed(self.programs.values()):
            await program.stop()

    async def _start(
        self, group: asyncio.TaskGroup, name: str, arguments: list[str]
    ) -> dict[str, str]:
        program = Program(name, arguments, self._scratch / f"{name}.log")
        self.programs[name] = program
        group.create_task(program.run(), name=name)
        return await program.wait_ready()

    def _say_addresses(self) -> None:
        manager, mapper = self._node.manager_url, self._node.mapper_url
        twin = f"{manager}/api/v1/devices/default/boiler/twins"
        self._view.note(f"curl {manager}/api/v1/devices            # what the manager knows")
        self._view.note(f"curl {twin}/temperature")
        self._view.note(f"curl -N {manager}/api/v1/changes         # every change, as it happens")
        self._view.note(
            f"curl -X PUT -H 'Content-Type: application/json' -d '{{\"value\": 60}}' "
            f"'{twin}/setpoint/desired?wait=5'"
        )
        self._view.note(
            f"curl '{mapper}/api/v1/devices/default/boiler?live=true'  # the device now"
        )
        self._view.note(f"dmi get twins --server {manager}    logs and data: {self._scratch}")


def _free_port() -> int:
    """A loopback port that stays the program's own across its restarts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
