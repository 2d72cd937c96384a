"""A real OPC UA server with the simulated plant behind it."""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from asyncua import Node, Server, ua, uamethod
from asyncua.common.callback import CallbackType
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.event_generator import EventGenerator

from dmi.errors import ConfigError, UnavailableError
from mappers.opcua.simulation.alarm import Overheating
from mappers.opcua.simulation.faults import Fault, FaultKind, parse_fault
from mappers.opcua.simulation.plant import NAMESPACE, ROWS, Plant
from mappers.opcua.simulation.recipe import add_recipe

__all__ = ["OpcuaSimulator"]

_PERIOD = 0.2
_POLICIES = [
    ua.SecurityPolicyType.NoSecurity,
    ua.SecurityPolicyType.Basic256Sha256_Sign,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]


class _Users:
    """Who may log in: everybody when there are no users, else those with their password."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def get_user(
        self,
        iserver: Any,  # noqa: ANN401 - asyncua's
        username: str | None = None,
        password: str | None = None,
        certificate: object = None,
    ) -> User | None:
        """The user; None refuses the login."""
        if username is not None:
            known = username in self._users and self._users[username] == password
            return User(UserRole.User, username) if known else None
        return User(UserRole.User) if not self._users or certificate else None


@contextmanager
def _without_collector() -> Iterator[None]:
    """Thousands of nodes are made and all stay: looking for what does not takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class OpcuaSimulator:
    """The plant behind a server; an asynchronous context manager.

    Attributes:
        writes: How many values clients have written.
        plant: What is behind it.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        items: int = 0,
        certificate: Path | None = None,
        key: Path | None = None,
        users: Mapping[str, str] | None = None,
        padding: int = 0,
    ) -> None:
        """Prepare everything; nothing listens yet.

        Args:
            host: Address to listen on.
            port: 0 takes a free one, and keeps it.
            items: How many variables there are beside the plant's, changing each second.
            certificate: DER or PEM; without it there is no security.
            key: Its key.
            users: Name to password; without it everybody is let in.
            padding: Namespaces before the plant's: its index moves by so many.
        """
        self.host = host
        self.port = port
        self.writes = 0
        self.plant = Plant(time.monotonic)
        self._items = items
        self._certificate, self._key = certificate, key
        self._users = users or {}
        self._padding = padding
        self._server: Server | None = None
        self._nodes: dict[str, Node] = {}
        self._racks: list[Node] = []
        self._turns = 0
        self._events: EventGenerator | None = None
        self._alarm: Overheating | None = None
        self._mover: asyncio.Task[None] | None = None
        self._broken_until = 0.0
        self._delay = 0.0

    # ------------------------------------------------------------- its life ----

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"opc.tcp://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen; after `stop` at the same address, with the sessions from before.

        Raises:
            UnavailableError: It cannot listen there.
            ConfigError: The certificate cannot be read.
        """
        try:
            if self._server is not None:
                await self._server.bserver.start()
                return
            server = await self._build()
            await server.start()
        except OSError as error:
            raise UnavailableError(f"cannot listen at {self.url}: {error}") from error
        self._server = server
        self.port = server.bserver.port
        self._mover = asyncio.create_task(self._move(server), name="plant")

    async def stop(self) -> None:
        """Vanish: drop connections and refuse further ones, but keep the sessions."""
        if self._server is not None:
            await self._server.bserver.stop()

    async def end(self) -> None:
        """End for good; sessions and subscriptions are forgotten."""
        mover, self._mover = self._mover, None
        if mover is not None:
            mover.cancel()
            await asyncio.wait([mover])
        server, self._server = self._server, None
        if server is not None:
            for subscription in list(server.iserver.subscription_service.subscriptions.values()):
                await subscription.stop()
            await server.stop()

    async def restart(self, *, padding: int | None = None) -> None:
        """End, and start as a new process would."""
        await self.end()
        if padding is not None:
            self._padding = padding
        await self.start()

    # ------------------------------------------------------------- building ----

    async def _build(self) -> Server:
        log = logging.getLogger("asyncua")
        if log.level == logging.NOTSET:
            log.setLevel(logging.CRITICAL + 1)
        server = Server(user_manager=_Users(self._users))
        server.iserver.bind_condition_methods = True
        with _without_collector():
            await server.init()
        server.disable_clock()
        server.set_endpoint(self.url)
        server.set_server_name("DMI plant simulator")
        server.set_security_policy(_POLICIES if self._certificate else _POLICIES[:1])
        if self._certificate is not None and self._key is not None:
            try:
                await server.load_certificate(self._certificate)
                await server.load_private_key(self._key)
            except (OSError, ValueError) as error:
                raise ConfigError(f"{self._certificate}: {error}") from error
        for number in range(self._padding):
            await server.register_namespace(f"urn:dmi-toolkit:padding:{number}")
        await self._fill(server, await server.register_namespace(NAMESPACE))
        server.subscribe_server_callback(CallbackType.PreWrite, self._count_write)
        server.subscribe_server_callback(CallbackType.PreRead, self._wait)
        return server

    async def _fill(self, server: Server, index: int) -> None:
        objects = server.get_objects_node()
        plant = await objects.add_object(ua.NodeId("Plant", index), f"{index}:Plant")
        parents: dict[str, Node] = {}
        for row in ROWS:
            parent = parents.get(row.device)
            if parent is None:
                parent = await plant.add_object(
                    ua.NodeId(row.device, index), f"{index}:{row.device}"
                )
                parents[row.device] = parent
            value = self.plant.values[row.node]
            node = await parent.add_variable(
                ua.NodeId(row.node, index), f"{index}:{row.name}", value, row.type
            )
            if row.writable:
                await node.set_writable()
            self._nodes[row.node] = node
        await self._add_methods(server, parents["Pump"], plant, index)
        self._racks = await self._add_racks(plant, index)
        await self._add_extras(parents["Meter"], index)
        self._nodes |= await add_recipe(server, parents["Boiler"], index)
        self._events = await self._add_events(server, parents["Boiler"], index)
        self._alarm = await Overheating.add(server, parents["Pump"], index)
        await server.historize_node_data_change(self._nodes["Boiler.Temperature"], None, 10_000)

    async def _add_racks(self, plant: Node, index: int) -> list[Node]:
        """Further variables, 100 to an object: asyncua looks through all of one's children."""
        nodes: list[Node] = []
        rack = plant
        for n in range(self._items):
            if n % 100 == 0:
                name = f"Rack{n // 100}"
                rack = await plant.add_object(ua.NodeId(name, index), f"{index}:{name}")
            name = f"Rack.{n}"
            nodes.append(await rack.add_variable(ua.NodeId(name, index), f"{index}:{n}", float(n)))
        return nodes

    async def _add_extras(self, meter: Node, index: int) -> None:
        """An array that can be written."""
        phases = ua.NodeId("Meter.Phases", index)
        node = await meter.add_variable(phases, f"{index}:Phases", [230.1, 229.8, 230.4])
        await node.set_writable()
        self._nodes["Meter.Phases"] = node

    async def _add_methods(self, server: Server, pump: Node, plant: Node, index: int) -> None:
        def argument(name: str, kind: ua.ObjectIds, text: str) -> ua.Argument:
            return ua.Argument(
                Name=name,
                DataType=ua.NodeId(kind),
                ValueRank=-1,
                Description=ua.LocalizedText(text),
            )

        await pump.add_method(
            ua.NodeId("Pump.Run", index),
            f"{index}:Run",
            self._run_pump,
            [
                argument("speed", ua.ObjectIds.UInt16, "1/min, up to 3000"),
                argument("seconds", ua.ObjectIds.Double, "for how long"),
            ],
            [argument("volume", ua.ObjectIds.Double, "m3 that this moves")],
        )
        await plant.add_method(
            ua.NodeId("Plant.Fault", index),
            f"{index}:Fault",
            self._call_fault,
            [argument("fault", ua.ObjectIds.String, "kind[:seconds]: drop, silent, bad, slow")],
            [],
        )

    async def _add_events(self, server: Server, boiler: Node, index: int) -> EventGenerator:
        kind = await server.create_custom_event_type(
            index,
            "BurnerEvent",
            ua.ObjectIds.BaseEventType,
            [("Temperature", ua.VariantType.Double)],
        )
        generator = await server.get_event_generator(kind, boiler)
        generator.event.Severity = 300
        return generator

    @uamethod  # type: ignore[untyped-decorator]  # asyncua's
    async def _run_pump(self, parent: ua.NodeId, speed: int, seconds: float) -> object:
        if speed > 3000:
            return ua.StatusCode(ua.StatusCodes.BadOutOfRange)
        self.plant.values["Pump.Speed"] = speed
        return speed * 0.008 * seconds / 3600

    @uamethod  # type: ignore[untyped-decorator]  # asyncua's
    async def _call_fault(self, parent: ua.NodeId, text: str) -> object:
        try:
            fault = parse_fault(text)
        except ConfigError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        # The answer to this call goes out before the connection is dropped.
        asyncio.get_running_loop().call_later(0.05, self.show, fault)
        return None

    # --------------------------------------------------------------- running ----

    async def _move(self, server: Server) -> None:
        """Write what changes, and take over what was written."""
        turn_at = time.monotonic() + 1
        while True:
            await asyncio.sleep(_PERIOD)
            await self._move_plant(server)
            if time.monotonic() >= turn_at:
                turn_at += 1
                await self.turn_racks(server)

    async def _move_plant(self, server: Server) -> None:
        for row in ROWS:
            if row.writable:
                value = server.read_attribute_value(self._nodes[row.node].nodeid).Value.Value
                self.plant.values[row.node] = value
        flame = self.plant.values["Boiler.Flame"]
        changed = self.plant.move()
        for row in ROWS:
            if row.node in changed and not row.writable:
                await self._write(server, row.node, ua.Variant(changed[row.node], row.type))
        if self.plant.values["Boiler.Flame"] != flame:
            await self.ring()
        if self._alarm is not None:
            await self._alarm.follow(hot=bool(self.plant.values["Pump.Overheated"]))

    async def _write(self, server: Server, name: str, value: ua.Variant) -> None:
        now = datetime.now(UTC)
        data = ua.DataValue(value, SourceTimestamp=now, ServerTimestamp=now)
        if name == "Boiler.Temperature" and time.monotonic() < self._broken_until:
            data.StatusCode = ua.StatusCode(ua.StatusCodes.BadSensorFailure)
        await server.write_attribute_value(self._nodes[name].nodeid, data)

    async def turn_racks(self, server: Server | None = None) -> None:
        """Change every further variable by one."""
        server = server or self._server
        if server is None:
            return
        self._turns += 1
        now = datetime.now(UTC)
        for number, node in enumerate(self._racks):
            value = ua.Variant(float(number + self._turns), ua.VariantType.Double)
            data = ua.DataValue(value, SourceTimestamp=now, ServerTimestamp=now)
            await server.write_attribute_value(node.nodeid, data)
            if number % 200 == 199:
                await asyncio.sleep(0)  # clients must not wait for all of them

    async def ring(self) -> None:
        """Emit the boiler's event."""
        if self._events is not None:
            burning = self.plant.values["Boiler.Flame"]
            self._events.event.Temperature = self.plant.values["Boiler.Temperature"]
            await self._events.trigger(message=f"burner {'on' if burning else 'off'}")

    # ---------------------------------------------------------------- faults ----

    def show(self, fault: Fault) -> None:
        """Let something go wrong."""
        server = self._server
        if server is None:
            return
        match fault.kind:
            case FaultKind.DROP:
                for transport in list(server.iserver.asyncio_transports):
                    transport.abort()
            case FaultKind.SILENT:
                for subscription in server.iserver.subscription_service.subscriptions.values():
                    subscription._task.cancel()
            case FaultKind.BAD:
                self._broken_until = time.monotonic() + fault.seconds
            case FaultKind.SLOW:
                self._delay = fault.seconds

    def _count_write(self, event: Any, dispatcher: object) -> None:  # noqa: ANN401 - asyncua's
        if event.is_external:
            self.writes += len(event.request_params.NodesToWrite)

    async def _wait(self, event: Any, dispatcher: object) -> None:  # noqa: ANN401 - asyncua's
        if event.is_external and self._delay:
            await asyncio.sleep(self._delay)
