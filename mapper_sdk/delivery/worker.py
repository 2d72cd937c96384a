"""One target's worker: its queue, its batches, its retries, and what waits on disk for it."""

import asyncio
import logging
import math
import sys
from typing import Any, Final

from dmi.bell import Bell
from dmi.errors import DmiError
from mapper_sdk.delivery.courier import Courier, Outcome
from mapper_sdk.delivery.disk.backlog import Backlog
from mapper_sdk.delivery.draining import Draining
from mapper_sdk.delivery.inbox import Chunk, Inbox
from mapper_sdk.delivery.ledger import Ledger, Tally
from mapper_sdk.delivery.manner import Manner, Tools
from mapper_sdk.delivery.sink import Item, Sink
from mapper_sdk.delivery.status import Condition, TargetStatus
from mapper_sdk.sessions.backoff import Backoff

__all__ = ["Worker"]

log = logging.getLogger(__name__)

_STORE_AT_ONCE: Final = 10_000
_NEVER: Final = sys.maxsize
_BURST: Final = 0.1


class Worker:
    """Serves one target. A target that is dead, slow or broken costs the others nothing.

    While the target takes what comes, readings are in memory only. When a send fails, all that
    was not sent and all that comes goes to disk, and the head of that is tried again and again.
    When it is taken, new readings go straight to the target again, and what is on disk follows
    at a set pace. Without a disk, or while it fails, readings wait in memory: the oldest ones
    go when there are too many, and the ledger says which.

    Attributes:
        name: Of the target, as people know it.
        kind: Kind of the sink.
        address: Whom it reaches, without secrets.
        ledger: What the target never got.
        backlog: What waits for it on disk, and the ledger there; None without a folder.
        courier: Calls the sink.
        delivered: Readings that it has taken.
        retried: Readings that were sent again.
    """

    def __init__(
        self,
        name: str,
        address: str,
        sink: Sink[Any, Any],
        manner: Manner,
        ledger: Ledger,
        backlog: Backlog | None,
        tools: Tools,
    ) -> None:
        self.name = name
        self.kind = sink.kind
        self.address = address
        self.ledger = ledger
        self.backlog = backlog
        self.courier = Courier(sink, manner.size, manner.timeout)
        self.delivered = self.retried = 0
        self._draining = (
            Draining(backlog, manner.size, sink.place_model) if backlog is not None else None
        )
        self._manner = manner
        self._poller, self._clock = tools.poller, tools.clock
        self._backoff, self._disk_backoff = Backoff(tools.rng), Backoff(tools.rng)
        self._inbox = Inbox()
        self._unnoted = Tally()
        self._sending: list[Item[Any]] = []
        self._send_bell, self._store_bell = asyncio.Event(), asyncio.Event()
        self._progress = Bell()
        self._wake_at = 1
        self._ripe_at = 0.0
        self._busy = self._away = self._stopping = self._spilling = self._overflown = False
        self._spools = manner.spools and backlog is not None
        self._diverted = manner.always and self._spools
        self._rest_until = self._next_drain = 0.0
        self._trouble: DmiError | None = None
        self._condition, self._since = Condition.IDLE, tools.clock.time()

    # -------------------------------------------------------- from outside ----

    def put(self, chunk: Chunk) -> None:
        """Take readings and return at once; the oldest go when there are too many."""
        inbox = self._inbox
        if not inbox.count:
            self._ripe_at = self._clock.monotonic() + self._manner.linger
        inbox.put(chunk)
        if inbox.count >= self._wake_at:
            self._send_bell.set()
        if self._diverted:
            self._store_bell.set()
        if inbox.count * 2 > self._manner.queue:
            self._overflow()
        else:
            self._overflown = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for the target, in memory or on disk."""
        return not (self._waits_in_memory or self._stored or self._unnoted)

    def status(self) -> TargetStatus:
        """How the target does now."""
        backlog = self.backlog
        trouble = (backlog and (backlog.full or backlog.unreadable)) or self._trouble
        return TargetStatus(
            name=self.name,
            kind=self.kind,
            address=self.address,
            condition=self._condition,
            since=self._since,
            delivered=self.delivered,
            retried=self.retried,
            lost=dict(self.ledger.lost + self._unnoted.counts),
            queued=self._inbox.count + len(self._sending),
            spooled=self._stored,
            spooled_bytes=backlog.spool.size if backlog else 0,
            hours_left=backlog.hours_left if backlog and self._away else None,
            error=str(trouble) if trouble else "",
            reason=trouble.reason if trouble else "",
        )

    async def run(self) -> None:
        """Serve until cancelled; then `stow` must be called."""
        try:
            async with asyncio.TaskGroup() as group:
                if self.backlog is not None:
                    await self.backlog.look()
                    group.create_task(self._store_on(self.backlog), name=f"store for {self.name}")
                group.create_task(self._send_on(), name=f"send to {self.name}")
        finally:
            await self.courier.close()

    async def look_after(self) -> None:
        """Write the ledger, and give up what is too old; to be called now and then."""
        losses = self._unnoted.take()
        if self.backlog is None:
            self.ledger.note(losses, self._clock.time())
        else:
            await self.backlog.look_after(losses, needed=self._diverted)
        self._refresh()

    async def drain(self) -> None:
        """Return when nothing waits in memory, or the target does not take it."""
        self._stopping = True
        self._send_bell.set()
        self._store_bell.set()
        while self._waits_in_memory and not self._away:
            await self._progress.next()

    def stow(self) -> None:
        """After `run` has ended: what is left in memory goes to disk, else into the ledger."""
        self._inbox.put_back(self._sending)
        self._sending = []
        chunks = self._inbox.take_chunks(self._inbox.count)
        if self.backlog is None or not self._spools or not self.backlog.stow(chunks):
            for chunk in chunks:
                self._unnoted.add_items(zip(*chunk, strict=True), "stopped")
            if chunks:
                count = sum(len(chunk.readings) for chunk in chunks)
                log.error("%s: %d readings are lost by stopping", self.name, count)
        losses = self._unnoted.take()
        if self.backlog is None:
            self.ledger.note(losses, self._clock.time())
        else:
            self.backlog.close(losses)

    # -------------------------------------------------------------- sending ----

    async def _send_on(self) -> None:
        while True:
            draining, items = await self._next_batch()
            self._sending = [] if draining else items
            outcome = await self.courier.deliver(items)
            self._sending = []
            await self._settle(draining, len(items), outcome)
            self._busy = False
            self._refresh()
            self._progress.ring()

    async def _next_batch(self) -> tuple[Draining | None, list[Item[Any]]]:
        """Wait for what is to be sent next, and say where it came from: disk, or memory."""
        while True:
            self._send_bell.clear()
            now = self._clock.monotonic()
            wait = self._rest_until - now
            if wait > 0:
                self._wake_at = _NEVER
                await self._rest(self._send_bell, wait)
                continue
            if self._takes_from_memory(now):
                self._ripe_at = now + self._manner.linger
                self._busy = True
                return None, self._inbox.take(self._manner.size)
            if self._draining is not None and now >= self._next_drain:
                self._busy = True
                if batch := await self._stored_batch(self._draining):
                    return self._draining, batch
                self._busy = False
                self._progress.ring()
                if self._stored and not self._stopping:
                    continue
            await self._rest(self._send_bell, self._wait_for_more(now))

    def _takes_from_memory(self, now: float) -> bool:
        """Whether the next batch is what came last, and not what is on disk."""
        count = self._inbox.count
        if not count:
            return False
        if self._away or self._diverted:
            # Else the readings are on their way to disk, and the head of that is tried.
            return self.backlog is None or not self._spools or self.backlog.full is not None
        return count >= self._manner.size or now >= self._ripe_at or self._stopping

    def _wait_for_more(self, now: float) -> float:
        """Give how long nothing has to be done; sooner, the bell rings."""
        wait = math.inf
        if self._diverted:
            self._wake_at = _NEVER  # who stores rings
        elif self._inbox.count:
            self._wake_at = self._manner.size
            wait = self._ripe_at - now
        else:
            self._wake_at = 1
        if self._stored and not self._stopping:
            wait = min(wait, self._next_drain - now)
        return wait

    async def _stored_batch(self, draining: Draining) -> list[Item[Any]]:
        if self._stopping:
            await draining.finish()
            return []
        if not self._stored:
            return []
        batch = await draining.next(ahead=not self._away)
        if not batch:
            self._next_drain = self._clock.monotonic() + self._disk_backoff.next()
        return batch

    async def _settle(self, draining: Draining | None, count: int, outcome: Outcome) -> None:
        """Enter what became of a batch."""
        self.delivered += outcome.delivered
        self.retried += len(outcome.left)
        if outcome.error is None:
            self._came_back()
        else:
            self._went_away(outcome.error)
        if draining is None:
            self._inbox.put_back(outcome.left)
            self._unnoted.add_tally(outcome.lost)
            self._divert()
        else:
            now = self._clock.monotonic()
            # The timer is coarser than batches may be frequent: a little may be caught up.
            self._next_drain = max(now - _BURST, self._next_drain) + count / self._manner.drain
            await draining.settle(count, outcome)

    def _went_away(self, error: DmiError) -> None:
        wait = self._backoff.next() if error.retryable else self._backoff.longest()
        level = logging.DEBUG if self._away else logging.WARNING
        log.log(level, "%s (%s) takes no readings: %s", self.name, self.address, error)
        self._trouble = error
        self._away = True
        self._rest_until = self._clock.monotonic() + wait
        self._divert()

    def _came_back(self) -> None:
        if self._away:
            log.info("%s takes readings again", self.name)
        self._trouble = None
        self._away = False
        self._rest_until = 0.0
        self._backoff.reset()
        self._divert()

    # -------------------------------------------------------------- storing ----

    async def _store_on(self, backlog: Backlog) -> None:
        while True:
            await self._store_bell.wait()
            self._store_bell.clear()
            if not self._diverted:
                continue
            if not (self._stopping or self._spilling):
                await self._rest(asyncio.Event(), self._manner.linger)
            await self._store(backlog)
            self._spilling = False
            self._divert()
            self._refresh()

    async def _store(self, backlog: Backlog) -> None:
        """Put everything that is in memory on disk."""
        while self._inbox.count and self._diverted:
            chunks = self._inbox.take_chunks(_STORE_AT_ONCE)
            if await backlog.store(chunks):
                self._disk_backoff.reset()
            else:
                self._inbox.put_back_chunks(chunks)
                self._overflow()
            self._send_bell.set()
            self._progress.ring()
            if backlog.full is not None:
                await self._rest(asyncio.Event(), self._disk_backoff.next())

    def _overflow(self) -> None:
        """There are too many readings in memory."""
        full = self.backlog.full if self.backlog is not None else None
        if self._spools and full is None and not self._spilling:
            self._spilling = True
            self._divert()
        surplus = self._inbox.count - self._manner.queue
        if surplus > 0:
            reason = "queue_full" if full is None else "disk_failed"
            level = logging.DEBUG if self._overflown else logging.WARNING
            log.log(level, "%s: the oldest readings are lost: %s", self.name, reason)
            self._overflown = True
            self._unnoted.add_items(self._inbox.take(surplus), reason)

    def _divert(self) -> None:
        """Decide whether readings go to disk, and see to it."""
        if not self._spools:
            return
        self._diverted = self._away or self._spilling or self._manner.always
        if self._diverted and self._inbox.count:
            self._store_bell.set()

    # -------------------------------------------------------------- details ----

    @property
    def _stored(self) -> int:
        return self.backlog.count if self.backlog is not None else 0

    @property
    def _waits_in_memory(self) -> bool:
        storing = self.backlog is not None and self.backlog.is_busy
        draining = self._draining is not None and self._draining.is_open
        return bool(self._inbox.count) or self._busy or storing or draining

    async def _rest(self, bell: asyncio.Event, seconds: float) -> None:
        """Return when the bell rings, or after so many seconds."""
        if seconds <= 0:
            return
        if math.isinf(seconds):
            await bell.wait()
            return

        def ring() -> bool:
            bell.set()
            return True

        ticket = self._poller.after(seconds, ring)
        try:
            await bell.wait()
        finally:
            self._poller.cancel(ticket)

    def _refresh(self) -> None:
        """Notice when the condition changes."""
        if self._away:
            condition = Condition.STORING
        elif self._stored and not self._manner.always:
            condition = Condition.DRAINING
        elif self.delivered:
            condition = Condition.LIVE
        else:
            condition = Condition.IDLE
        if condition is not self._condition:
            self._condition, self._since = condition, self._clock.time()
