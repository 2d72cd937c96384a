"""The demo's stage: a scratch folder, the programs, their addresses, and how they start."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from dmi_cli.demo.plant import write_plant
from dmi_cli.demo.plot import Plot
from dmi_cli.demo.processes import Program
from dmi_cli.demo.snapshot import Node
from dmi_cli.demo.view import View

__all__ = ["Stage"]


class Stage:
    """Starts the simulators, the manager and the mappers, each when those before are ready.

    Attributes:
        programs: By name, in the order they were started; those of the mappers begin with
            `mapper`.
    """

    def __init__(self, plots: Sequence[Plot], scratch: Path, node: Node, view: View) -> None:
        self.programs: dict[str, Program] = {}
        self._plots = plots
        self._scratch = scratch
        self._node = node
        self._view = view

    def mapper(self, plot: Plot) -> Program:
        """The mapper of one protocol."""
        return self.programs[self._name("mapper", plot)]

    async def build(self, group: asyncio.TaskGroup) -> None:
        """Start everything.

        Raises:
            UnavailableError: A program did not come up.
            ConfigError: A plant's device files are missing.
        """
        devices = self._scratch / "devices"
        for plot in self._plots:
            words = ["simulate", plot.protocol, "--port", str(_free_port()), "--ready-json"]
            simulator = await self._start(group, self._name("simulator", plot), words)
            # In one folder, but files of one name may come from two plants.
            write_plant(plot.plant, devices / plot.protocol, int(simulator["port"]))
        await self._start_manager(group, devices)
        for plot in self._plots:
            await self._start_mapper(group, plot)
        self._say_addresses()

    async def _start_manager(self, group: asyncio.TaskGroup, devices: Path) -> None:
        words = [
            *("manager", "--ready-json", "--data-dir", str(self._scratch / "manager")),
            *("--socket", str(self._socket), "--api", f"127.0.0.1:{_free_port()}"),
            *("--devices", str(devices)),
        ]
        self._node.manager_url = (await self._start(group, "manager", words))["api"]

    async def _start_mapper(self, group: asyncio.TaskGroup, plot: Plot) -> None:
        name = self._name("mapper", plot)
        words = [
            *("mapper", plot.protocol, "--ready-json", "--manager-socket", str(self._socket)),
            *("--rest", f"127.0.0.1:{_free_port()}"),
        ]
        self._node.mapper_urls[plot.protocol] = (await self._start(group, name, words))["rest"]

    def _name(self, what: str, plot: Plot) -> str:
        return what if len(self._plots) == 1 else f"{what}-{plot.protocol}"

    @property
    def _socket(self) -> Path:
        return self._scratch / "dmi.sock"

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
        manager, plot = self._node.manager_url, self._plots[0]
        mapper = self._node.mapper_urls[plot.protocol]
        twin = f"{manager}/api/v1/devices/default/{plot.device}/twins"
        self._view.note(f"curl {manager}/api/v1/devices            # what the manager knows")
        self._view.note(f"curl {twin}/{plot.reading}")
        self._view.note(f"curl -N {manager}/api/v1/changes         # every change, as it happens")
        self._view.note(
            "curl -X PUT -H 'Content-Type: application/json' "
            f"-d '{{\"value\": {plot.wishes[0]:g}}}' '{twin}/{plot.setpoint}/desired?wait=5'"
        )
        self._view.note(
            f"curl '{mapper}/api/v1/devices/default/{plot.device}?live=true'  # the device now"
        )
        self._view.note(f"dmi get twins --server {manager}    logs and data: {self._scratch}")


def _free_port() -> int:
    """A loopback port that stays the program's own across its restarts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
