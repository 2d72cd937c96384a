"""Choosing a mapper's link by its settings, or by what its manager answers."""

import asyncio
import json
import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Final

import grpc

from dmi.clock import Clock
from dmi.errors import ConfigError, DmiError, UnavailableError, UnsupportedError
from dmi.governor import Charset
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome, Registration
from dmi.status import from_grpc
from dmi.unix_socket import channel
from mapper_sdk.backoff import Backoff
from mapper_sdk.config import MapperConfig
from mapper_sdk.devices import Point
from mapper_sdk.driver import Calling, Discovering, Subscribing, Upgrading
from mapper_sdk.link.base import Link, Served
from mapper_sdk.link.patience import Patience
from mapper_sdk.link.v1 import V1Link
from mapper_sdk.link.v1beta1 import V1Beta1Link
from mapper_sdk.planning import AnyDriver

__all__ = ["AutoLink", "make_link", "registration_of"]

log = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 2.0
_ABILITIES: Final = (
    (Subscribing, "subscribe"),
    (Calling, "call"),
    (Discovering, "discover"),
    (Upgrading, "upgrade"),
)


def make_link(
    config: MapperConfig, driver_class: type[AnyDriver], clock: Clock | None = None
) -> Link:
    """Give the link that the settings ask for; nothing is opened yet.

    Raises:
        ConfigError: The link `files` was asked for without naming files.
    """
    if config.link == "files" or (config.link == "auto" and config.devices is not None):
        if config.devices is None:
            raise ConfigError("link files needs devices: a file or a folder of them")
        # With a manager a mapper does not pay for reading files, some 2 MiB.
        from mapper_sdk.link.files import FilesLink

        return FilesLink(config.devices, clock=clock)
    registration = registration_of(driver_class, config)
    v1 = V1Link(config.manager_socket, registration)
    if config.link == "v1":
        return v1
    v1beta1 = V1Beta1Link(
        config.manager_socket, registration, charset=Charset(config.charset), clock=clock
    )
    if config.link == "v1beta1":
        return v1beta1
    return AutoLink(config.manager_socket, v1, v1beta1)


def registration_of(driver_class: type[AnyDriver], config: MapperConfig) -> Registration:
    """Who a mapper is, from its driver and its settings."""
    protocol = config.protocol or driver_class.protocol_name
    name = config.name or f"{protocol}-mapper"
    socket = config.socket or config.manager_socket.with_name(f"{name}.sock")
    extra = [word for ability, word in _ABILITIES if issubclass(driver_class, ability)]
    return Registration(
        name=name,
        protocol=protocol,
        instance=config.instance,
        version=_version(driver_class),
        abilities=("read", "write", *extra),
        link_schema=json.dumps(driver_class.link_model.model_json_schema()),
        visit_schema=json.dumps(driver_class.visit_model.model_json_schema()),
        address=str(socket.absolute()),
    )


def _version(driver_class: type[AnyDriver]) -> str:
    """Version of the package that the driver comes in, as far as it is installed."""
    package = driver_class.__module__.partition(".")[0]
    own = {"mapper_sdk", "mappers"}
    try:
        return version("dmi-toolkit" if package in own else package)
    except PackageNotFoundError:
        return ""


class AutoLink(Link):
    """Asks the manager for the newest version first, then is the link of that version.

    Nothing is served before that is known, so nothing can be reported before.
    """

    def __init__(self, socket: Path, v1: V1Link, v1beta1: V1Beta1Link) -> None:
        """Prepare.

        Args:
            socket: The manager's.
            v1: Used where the manager knows DMI v1.
            v1beta1: Used where it does not.
        """
        # Not `super().__init__()`: the attributes of a link are those of the chosen one.
        self._socket = socket
        self._v1beta1 = v1beta1
        self._chosen: V1Link | V1Beta1Link = v1
        # Randomness against thundering herds needs no cryptography.
        backoff = Backoff(Random(), first=0.1, longest=2.0)  # noqa: S311
        self._patience = Patience(socket, backoff, log)

    @property
    def connected(self) -> bool:
        """Whether the chosen link is."""
        return self._chosen.connected

    @connected.setter
    def connected(self, value: bool) -> None:
        self._chosen.connected = value

    @property
    def acknowledged(self) -> int:
        """What the other side of the chosen link has taken over."""
        return self._chosen.acknowledged

    @acknowledged.setter
    def acknowledged(self, value: int) -> None:
        self._chosen.acknowledged = value

    @property
    def dropped(self) -> dict[str, int]:
        """What the chosen link dropped."""
        return self._chosen.dropped

    @dropped.setter
    def dropped(self, value: dict[str, int]) -> None:
        self._chosen.dropped = value

    def report(self, batch: list[tuple[Point, Reading]]) -> None:
        """Take the readings of one look at a device."""
        self._chosen.report(batch)

    def report_state(self, state: DeviceState) -> None:
        """Take a device's new state."""
        self._chosen.report_state(state)

    def report_outcome(self, outcome: Outcome) -> None:
        """Take what became of a wish."""
        self._chosen.report_outcome(outcome)

    async def drain(self) -> None:
        """Return when everything taken so far is delivered."""
        await self._chosen.drain()

    async def run(self, served: Served) -> None:
        """Serve until cancelled; waits for a manager that is not there."""
        if not await self._knows_v1():
            log.info("the manager at %s knows DMI v1beta1", self._socket)
            self._chosen = self._v1beta1
        await self._chosen.run(served)

    async def _knows_v1(self) -> bool:
        async with channel(self._socket) as manager:
            while True:
                self._patience.begin()
                try:
                    return await _answers_v1(manager)
                except DmiError as error:
                    self._patience.complain(error)
                await self._patience.wait()


async def _answers_v1(manager: grpc.aio.Channel) -> bool:
    """Whether there is a service of v1; EdgeCore's limiter does not see this question."""
    question = pb.ListMappersRequest(protocol="-")
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await rpc.MapperManagementStub(manager).ListMappers(question)
    except TimeoutError as error:
        raise UnavailableError("the manager does not answer") from error
    except grpc.aio.AioRpcError as error:
        reason = from_grpc(error, "ask for the manager's version")
        if isinstance(reason, UnsupportedError):
            return False
        raise reason from error
    return True
