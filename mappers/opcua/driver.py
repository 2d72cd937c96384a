"""The OPC UA driver: one device is a set of nodes of a server."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from asyncua import ua

from dmi.errors import ConversionError, DmiError, UnavailableError
from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver, Publish, Subscribing
from mappers.opcua.addresses import Address
from mappers.opcua.channel import Channel
from mappers.opcua.config import OpcuaLink, OpcuaVisit
from mappers.opcua.feed import Feed, Item
from mappers.opcua.peer import Peer
from mappers.opcua.variants import answer_of, is_raw_structure, to_variant

__all__ = ["OpcuaDriver"]


class OpcuaDriver(Driver[OpcuaLink, OpcuaVisit], Subscribing[OpcuaVisit]):
    """Devices of one server, and with one login, share a session."""

    protocol_name: ClassVar[str] = "opcua"
    link_model: ClassVar[type[OpcuaLink]] = OpcuaLink
    visit_model: ClassVar[type[OpcuaVisit]] = OpcuaVisit
    patience = 30.0
    longest_wait = 5.0

    def __init__(self, link: OpcuaLink) -> None:
        super().__init__(link)
        self._peer: Peer | None = None
        self._further: list[Peer] = []
        self._feeds: list[tuple[Peer, Feed]] = []
        self._nodes: dict[Address, ua.NodeId] = {}
        self._types: dict[ua.NodeId, ua.Variant] = {}
        self._stale: UnavailableError | None = None

    @classmethod
    def bus_key(cls, link: OpcuaLink) -> str:
        """The server, and everything that makes one session with it differ from another."""
        return f"opcua:{link.session_key}"

    # ------------------------------------------------------------- its life ----

    async def connect(self) -> None:
        """Open a session, or join the devices that have it open already."""
        await self.close()
        self._stale = None
        self._nodes.clear()
        self._types.clear()
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
        if any(map(is_raw_structure, data)):
            await channel.load_structures()
            data = await channel.read(nodes)
        now = time.time()
        for place, one in zip(places, data, strict=True):
            answers[place] = answer_of(one, now)
        return answers

    async def _find(
        self, channel: Channel, visits: Sequence[OpcuaVisit]
    ) -> Mapping[Address, DmiError]:
        """Resolve the addresses that are not known; gives those that lead nowhere."""
        unknown = [visit.address for visit in visits if visit.address not in self._nodes]
        errors: dict[Address, DmiError] = {}
        if unknown:
            for address, node in (await channel.resolve(unknown)).items():
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
            await channel.write(node, to_variant(value, await self._type_of(channel, node)))

        await self._joined().use(do)

    async def _type_of(self, channel: Channel, node: ua.NodeId) -> ua.Variant:
        """A variant of the node's type: what it holds, or where it is empty what is declared."""
        known = self._types.get(node)
        if known is not None:
            return known
        (data,) = await channel.read([node])
        if is_raw_structure(data):
            await channel.load_structures()
            (data,) = await channel.read([node])
        like = data.Value
        if like is None or like.VariantType is ua.VariantType.Null:
            like = await channel.declared_type(node)
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.link.address})"
