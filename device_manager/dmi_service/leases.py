"""Living mappers: their leases, and which of them serves which device."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from device_manager.dmi_service.assignment import choose
from device_manager.node import Node
from device_manager.records import MapperRecord
from dmi.bell import Bell
from dmi.clock import Clock, SystemClock
from dmi.errors import LostSessionError
from dmi.resources import Key

__all__ = ["Leases", "Session"]

log = logging.getLogger(__name__)

_MOST_SEEN = 1024


class Session:
    """One lease of one mapper.

    Attributes:
        id: What the mapper's other calls carry; never used twice.
        gauges: What it last said of its health.
        over: Why the lease ended; empty while it lives.
    """

    def __init__(self, record: MapperRecord) -> None:
        self.id = secrets.token_hex(16)
        self.record = record
        self.gauges: dict[str, float] = {}
        self.over = ""
        self._streams: set[asyncio.Timeout] = set()

    @property
    def mapper(self) -> str:
        """The mapper's name and instance, as `Node.mappers` has it."""
        return f"{self.record.name}/{self.record.instance}"

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[None]:
        """Run a stream of this session; it is cut when the lease ends.

        Raises:
            LostSessionError: The lease ended.
        """
        try:
            async with asyncio.timeout(None) as cut:
                self._streams.add(cut)
                try:
                    if self.over:
                        raise LostSessionError(f"session of {self.mapper} is over: {self.over}")
                    yield
                finally:
                    self._streams.discard(cut)
        except TimeoutError:
            if not self.over:
                raise
            raise LostSessionError(f"session of {self.mapper} is over: {self.over}") from None

    def end(self, why: str) -> None:
        """Cut every stream of this session."""
        self.over = self.over or why
        now = asyncio.get_running_loop().time()
        for cut in self._streams:
            cut.reschedule(now)


class Leases:
    """The sessions that live now.

    Attributes:
        seconds: How long the manager waits for a beat.
        bell: Rings when a session comes or goes, and when what is wanted changes.
        traffic: Rings only when a session comes or goes.
        farewell: Rings once, when the manager is about to stop.
        generation: Grows when a session comes or goes.
        last_seen: When the mappers that left last were last heard, by name and instance.
        closing: Why the manager is about to stop; empty while it is not.
    """

    def __init__(self, node: Node, *, seconds: float = 10.0, clock: Clock | None = None) -> None:
        self.seconds = seconds
        self.bell = Bell()
        self.traffic = Bell()
        self.farewell = Bell()
        self.generation = 0
        self.last_seen: dict[str, float] = {}
        self.closing = ""
        self._clock = clock or SystemClock()
        self._node = node
        self._sessions: dict[str, Session] = {}
        self._serving: dict[str, dict[str, Session]] = {}

    @property
    def sessions(self) -> list[Session]:
        """Everyone who lives."""
        return list(self._sessions.values())

    @property
    def protocols(self) -> frozenset[str]:
        """What those who live serve."""
        return frozenset(session.record.protocol for session in self._sessions.values())

    def open(self, record: MapperRecord) -> Session:
        """Begin a lease. An older one of the same name and instance ends: its process is gone."""
        session = Session(replace(record, alive=True, last_seen=self._clock.time()))
        older = next((s for s in self._sessions.values() if s.mapper == session.mapper), None)
        if older is not None:
            # Twice in a row means that two processes carry one name and instance.
            log.warning("mapper %s registered again while it lived", session.mapper)
            self.close(older, "the same mapper registered again")
        self._sessions[session.id] = session
        self._serving.setdefault(record.protocol, {})[session.mapper] = session
        self._changed()
        log.info("mapper %s serves protocol %s", session.mapper, record.protocol)
        return session

    def close(self, session: Session, why: str) -> None:
        """End a lease; one that is over already is left alone."""
        if self._sessions.pop(session.id, None) is None:
            return
        serving = self._serving[session.record.protocol]
        if serving.get(session.mapper) is session:
            del serving[session.mapper]
        self.last_seen.pop(session.mapper, None)
        self.last_seen[session.mapper] = session.record.last_seen
        if len(self.last_seen) > _MOST_SEEN:
            del self.last_seen[next(iter(self.last_seen))]
        session.end(why)
        self._changed()
        log.info("mapper %s is gone: %s", session.mapper, why)

    def find(self, session_id: str) -> Session:
        """The living session of this id.

        Raises:
            LostSessionError: There is none.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise LostSessionError("no such session: register again")
        return session

    def touch(self, session: Session, gauges: dict[str, float]) -> None:
        """Note a beat."""
        session.gauges = gauges or session.gauges
        session.record = replace(session.record, last_seen=self._clock.time())

    def members(self, protocol: str) -> tuple[str, ...]:
        """Name and instance of everyone who serves a protocol, sorted."""
        return tuple(sorted(self._serving.get(protocol, ())))

    def owner(self, device: Key) -> Session | None:
        """Who serves a device now; None when nobody does or there is no such device."""
        known = self._node.devices.get(device)
        if known is None:
            return None
        serving = self._serving.get(known.spec.protocol.protocol_name)
        if not serving:
            return None
        chosen = choose(device, list(serving))
        return serving[chosen] if chosen is not None else None

    def has_served(self, protocol: str) -> bool:
        """Whether a mapper of this protocol has registered since the manager started."""
        return protocol in self._serving

    async def follow(self) -> None:
        """Ring the bell for each change of what is wanted, until cancelled."""
        seen = self._node.version
        while True:
            await self._node.wait_change(seen)
            seen = self._node.version
            self.bell.ring()

    def served(self, session: Session) -> list[Key]:
        """Every device that is a session's to serve, sorted."""
        return sorted(key for key in self._node.devices if self.owner(key) is session)

    def say_goodbye(self, why: str) -> None:
        """Tell every mapper that the manager is about to stop."""
        self.closing = why
        self.farewell.ring()

    def _changed(self) -> None:
        self.generation += 1
        self.traffic.ring()
        self.bell.ring()
