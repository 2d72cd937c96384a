"""The OPC UA driver: one device is a set of nodes of a server."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from asyncua import ua
from pydantic import ValidationError

from dmi.errors import ConfigError, ConversionError, DmiError, UnavailableError
from dmi.readings import Value
from mapper_sdk.driver import (
    Alarming,
    Answer,
    Calling,
    Discovering,
    Driver,
    Event,
    Method,
    Proposal,
    Publish,
    Remembering,
    Subscribing,
)
from mappers.opcua.addresses import Address
from mappers.opcua.conditions import CONDITION_METHODS, Conditions, has_conditions
from mappers.opcua.config import OpcuaLink, OpcuaVisit
from mappers.opcua.discovery import propose
from mappers.opcua.events import EventSource
from mappers.opcua.methods import ObjectMethod, call_method, find_methods, method_named
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.feed import Feed
from mappers.opcua.session.items import Item
from mappers.opcua.session.peer import Peer
from mappers.opcua.session.space import declared_type, found, resolve
from mappers.opcua.session.types import with_structures
from mappers.opcua.values.reading import answer_of
from mappers.opcua.values.structures import UnknownStructureError
from mappers.opcua.values.writing import to_variant

__all__ = ["OpcuaDriver"]


class OpcuaDriver(
    Driver[OpcuaLink, OpcuaVisit],
    Subscribing[OpcuaVisit],
    Remembering[OpcuaVisit],
    Calling,
    Alarming,
    Discovering,
):
    """Devices of one server, and with one login, share a session."""

    protocol_name: ClassVar[str] = "opcua"
    link_model: ClassVar[type[OpcuaLink]] = OpcuaLink
    visit_model: ClassVar[type[OpcuaVisit]] = OpcuaVisit
    takes_turns = False
    patience = 30.0
    longest_wait = 5.0

    def __init__(self, link: OpcuaLink) -> None:
        super().__init__(link)
        self._peer: Peer | None = None
        self._further: list[Peer] = []
        self._feeds: list[tuple[Peer, Feed]] = []
        self._nodes: dict[Address, ua.NodeId] = {}
        self._types: dict[ua.NodeId, ua.Variant] = {}
        self._life = 0
        self._stale: UnavailableError | None = None
        self._methods: dict[str, ObjectMethod] = {}
        self._methods_known = False
        self._listening: Feed | None = None
        self._conditions = Conditions()

    @classmethod
    def bus_key(cls, link: OpcuaLink) -> str:
        """The server, and everything that makes one session with it differ from another."""
        return f"opcua:{link.session_key}"

    # ------------------------------------------------------------- its life ----

    async def connect(self) -> None:
        """Open a session, or join the devices that have it open already."""
        await self.close()
        self._stale = None
        self._life = 0
        self._conditions = Conditions()
        peer = await self.bus.borrow(self._open)
        while peer.is_dead:
            self.bus.discard(peer)
            await self.bus.give_back(peer, Peer.close)
            peer = await self.bus.borrow(self._open)
        self._peer = peer

    async def _open(self) -> Peer:
        peer = Peer(self.link, self.tally)
        await peer.open()
        return peer

    async def close(self) -> None:
        """Leave the session; the last device closes it."""
        feeds, self._feeds = self._feeds, []
        listening, self._listening = self._listening, None
        if listening is not None and self._peer is not None:
            feeds.append((self._peer, listening))
        for peer, feed in feeds:
            await peer.drop(feed)
        further, self._further = self._further, []
        for peer in further:
            await peer.close()
        peer_before, self._peer = self._peer, None
        if peer_before is not None:
            if peer_before.is_dead:
                self.bus.discard(peer_before)
            await self.bus.give_back(peer_before, Peer.close)

    def _joined(self) -> Peer:
        if self._peer is None:
            raise UnavailableError(f"{self.link.address}: not connected")
        return self._peer

    # ---------------------------------------------------- reading and writing ----

    async def read(self, visits: Sequence[OpcuaVisit]) -> Sequence[Answer]:
        """Read all values in as few requests as the server allows."""
        if self._stale is not None:
            raise self._stale
        answers: list[Answer] = []

        async def do(channel: Channel) -> None:
            answers[:] = await self._read(channel, visits)

        await self._joined().use(do)
        return answers

    async def _read(self, channel: Channel, visits: Sequence[OpcuaVisit]) -> list[Answer]:
        answers: list[Answer] = []
        places: list[int] = []
        nodes: list[ua.NodeId] = []
        errors = await self._find(channel, visits)
        for place, visit in enumerate(visits):
            node = self._nodes.get(visit.address)
            if node is None:
                answers.append(errors[visit.address])
                continue
            answers.append(0)
            places.append(place)
            nodes.append(node)
        data = await channel.read(nodes)
        now, structures = time.time(), channel.structures
        for place, one in zip(places, data, strict=True):
            try:
                answers[place] = answer_of(one, now, structures)
            except UnknownStructureError:
                answers[place] = await with_structures(
                    channel, partial(answer_of, one, now, structures)
                )
        return answers

    async def _find(
        self, channel: Channel, visits: Sequence[OpcuaVisit]
    ) -> Mapping[Address, DmiError]:
        """Resolve the addresses that are not known; gives those that lead nowhere."""
        if channel.life != self._life:
            # The server may be another one behind the same address: nothing holds.
            self._life = channel.life
            self._nodes.clear()
            self._types.clear()
            self._methods_known = False
        unknown = [visit.address for visit in visits if visit.address not in self._nodes]
        errors: dict[Address, DmiError] = {}
        if unknown:
            for address, node in (await resolve(channel, unknown)).items():
                if isinstance(node, DmiError):
                    errors[address] = node
                else:
                    self._nodes[address] = node
        return errors

    async def write(self, visit: OpcuaVisit, value: Value) -> None:
        """Write with the node's own type."""

        async def do(channel: Channel) -> None:
            errors = await self._find(channel, [visit])
            if errors:
                raise errors[visit.address]
            node = self._nodes[visit.address]
            like = await self._type_of(channel, node)
            fitting = partial(to_variant, value, like, channel.structures)
            await channel.write(node, await with_structures(channel, fitting))

        await self._joined().use(do)

    async def _type_of(self, channel: Channel, node: ua.NodeId) -> ua.Variant:
        """A variant of the node's type: what it holds, or where it is empty what is declared."""
        known = self._types.get(node)
        if known is not None:
            return known
        (data,) = await channel.read([node])
        like = data.Value
        if like is None or like.VariantType is ua.VariantType.Null or _is_blank(like):
            like = await declared_type(channel, node)
        if like.VariantType is not ua.VariantType.ExtensionObject:
            self._types[node] = like  # a structure's other fields must be the present ones
        return like

    # ------------------------------------------------------------ subscribing ----

    async def subscribe(
        self, visits: Sequence[OpcuaVisit], publish: Publish
    ) -> Sequence[DmiError | None]:
        """Let the server send changes; what it cannot watch is polled.

        An item that is refused for itself (no such node, no permission) is not polled: it
        is tried again after `retryRefused`, and its refusal is its answer until then.
        """
        for peer, feed in self._feeds:
            await peer.drop(feed)
        self._feeds = []
        items = [Item(visit, self._teller(publish, n)) for n, visit in enumerate(visits)]
        pushed = [item for item in items if item.visit.subscribe]
        size = self.link.max_items
        for number, start in enumerate(range(0, len(pushed), size)):
            await self._feed(number, pushed[start : start + size])
        return [self._outcome(item) for item in items]

    async def _feed(self, number: int, items: list[Item]) -> None:
        """Subscribe in a session: the shared one first, further ones of our own after it."""
        if number > len(self._further):
            self._further.append(await self._open())
        peer = self._further[number - 1] if number else self._joined()
        link = self.link
        feed = Feed(link.publishing_interval, link.keep_alive, link.session_timeout, items)
        try:
            await peer.add(feed)
        except UnavailableError:
            raise
        except DmiError as error:
            # No subscription at all: everything is polled.
            for item in items:
                item.refusal, item.polled = error, True
        else:
            self._feeds.append((peer, feed))

    def _outcome(self, item: Item) -> DmiError | None:
        if not item.visit.subscribe:
            return ConversionError("this property is to be polled")
        if item.refusal is not None and not item.polled:
            item.publish(item.refusal)
            return None
        return item.refusal

    def _teller(self, publish: Publish, index: int) -> Callable[[Answer], None]:
        def tell(answer: Answer) -> None:
            if isinstance(answer, UnavailableError):
                self._stale = answer
            publish(index, answer)

        return tell

    # ------------------------------------------ methods, events, history, discovery ----

    async def methods(self) -> Sequence[Method]:
        """The methods of the object that the device names, and those of its conditions."""
        offered: dict[str, Method] = {}

        async def do(channel: Channel) -> None:
            await self._find_methods(channel)
            if "source" in self.link.nodes and await has_conditions(channel):
                offered.update(CONDITION_METHODS)

        await self._joined().use(do)
        offered.update({name: method.described() for name, method in self._methods.items()})
        return list(offered.values())

    async def _find_methods(self, channel: Channel) -> None:
        await self._find(channel, ())
        if not self._methods_known:
            owner = self.link.nodes.get("object")
            self._methods = (
                {} if owner is None else await find_methods(channel, await found(channel, owner))
            )
            self._methods_known = True

    async def call(self, name: str, arguments: Mapping[str, Value]) -> Mapping[str, Value]:
        """Call a method of the object, or one of its conditions."""
        results: dict[str, Value] = {}

        async def do(channel: Channel) -> None:
            await self._find_methods(channel)
            if name in CONDITION_METHODS and name not in self._methods:
                await self._conditions.call(channel, name, arguments)
            else:
                method = method_named(self._methods, name)
                results.update(await call_method(channel, method, arguments))

        await self._joined().use(do)
        return results

    async def listen(self, tell: Callable[[Event], None]) -> None:
        """Hear of the events of the source that the device names."""
        nodes, link = self.link.nodes, self.link
        if "source" not in nodes:
            return
        feed = Feed(link.publishing_interval, link.keep_alive, link.session_timeout)
        source = EventSource(nodes["source"], nodes.get("type"), self._conditions, tell)
        feed.events.append(source)
        await self._joined().add(feed)
        self._listening = feed

    async def history(
        self, visit: OpcuaVisit, start: float, end: float, limit: int
    ) -> Sequence[Answer]:
        """What the server keeps of a variable."""
        answers: list[Answer] = []

        async def do(channel: Channel) -> None:
            errors = await self._find(channel, [visit])
            if errors:
                raise errors[visit.address]
            node = self._nodes[visit.address]
            values = await channel.history(node, start, end, limit)
            structures = channel.structures
            for value in values:
                answer = partial(answer_of, value, end, structures)
                answers.append(await with_structures(channel, answer))

        await self._joined().use(do)
        return answers

    @classmethod
    async def discover(cls, settings: Mapping[str, Any]) -> AsyncIterator[Proposal]:
        """Propose devices from a server's address space.

        Args:
            settings: Those of a device's connection, and `root`: the browse path of the only
                object to look at.

        Raises:
            ConfigError: A setting is wrong.
            DmiError: The server refuses it or is away.
        """
        given = dict(settings)
        root = given.pop("root", None)
        try:
            link = OpcuaLink.model_validate(given)
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(str(part) for part in detail["loc"]) or "settings"
            raise ConfigError(f"{where}: {detail['msg']}") from error
        channel = Channel(link)
        await channel.open()
        try:
            async for proposal in propose(channel, given, root):
                yield proposal
        finally:
            await channel.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.link.address})"


def _is_blank(like: ua.Variant) -> bool:
    """Whether it holds no structure, so that nothing shows what one would be made of."""
    if like.VariantType is not ua.VariantType.ExtensionObject:
        return False
    first = (like.Value or [None])[0] if like.is_array else like.Value
    return first is None or (isinstance(first, ua.ExtensionObject) and first.TypeId.is_null())
