"""One device's link: made when it is needed, kept while something is pushed, given up in turn."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from bleak import BleakClient

from dmi.errors import DmiError, UnavailableError
from mappers.ble.advertisements import Identity
from mappers.ble.config import BleLink
from mappers.ble.links.exchange import Exchange
from mappers.ble.shared_radio import SharedRadio
from mappers.ble.troubles import translated

__all__ = ["GattLink", "Pushing"]

log = logging.getLogger(__name__)

_DISCONNECT_SECONDS = 3.0
_OPENING_SECONDS = 2.0
"""How long a new link waits for what a session does first: it subscribes and reads."""


class Pushing(Protocol):
    """What a device is to push over its link, whichever link that is."""

    @property
    def wanted(self) -> bool:
        """Whether there is anything."""

    @property
    def complete(self) -> bool:
        """Whether everything has been told over this link, so that it may go."""

    async def resume(self, exchange: Exchange) -> None:
        """Begin again over a new link, and read what can be read."""

    def ended(self) -> None:
        """The link is gone, and what was subscribed with it."""


class GattLink:
    """The link to one device, over a radio that has few.

    While something is pushed it is kept. If others wait for a slot it is given up when its lease
    ends; from then on the device is served in turns: connected again when a slot is free, at last
    after the length of a lease, asked for everything, and given up if others wait still.

    Attributes:
        pushing: What is pushed over it.
        mtu: Bytes of the longest packet, as of the last connection.
        opening: A session is about to subscribe and to read.
    """

    def __init__(
        self,
        radio: SharedRadio,
        link: BleLink,
        identity: Identity,
        pushing: Pushing,
        on_lost: Callable[[DmiError], None],
    ) -> None:
        self.pushing = pushing
        self.mtu = 0
        self.opening = False
        self._radio = radio
        self._link = link
        self._identity = identity
        self._on_lost = on_lost
        self._client: BleakClient | None = None
        self._lease_end: float | None = None
        self._has_slot = False
        self._lock = asyncio.Lock()
        self._leaving = False
        self._closed = False
        self._was_lost = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def kept(self) -> bool:
        """Whether it is not given up between uses; then its loss is final."""
        return self._link.keep_link or self.pushing.wanted

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Exchange]:
        """Have the link for the length of a block; it is made if there is none.

        Raises:
            DmiError: There is no slot, or the device cannot be reached.
        """
        async with self._lock:
            client = await self._connected()
            try:
                yield Exchange(client, self._link)
            finally:
                await self._rest()

    async def _connected(self) -> BleakClient:
        self._cancel_timer()
        if self._closed:
            raise UnavailableError("the device is being disconnected")
        if self._was_lost:
            raise UnavailableError(f"the link to {self._link.who} is lost")
        if self._client is not None:
            self._radio.slots.use(self)
            return self._client
        client = await self._connect()
        if self.pushing.wanted:
            try:
                await self.pushing.resume(Exchange(client, self._link))
            except BaseException:
                await self._disconnect()
                raise
        return client

    async def _connect(self) -> BleakClient:
        """Wait for a slot and make the link."""
        await self._radio.await_sight(self._link, self._identity)
        await self._radio.slots.acquire(self, self._link.slot_timeout)
        self._has_slot = True
        try:
            client = await self._radio.connect(self._link, self._identity, self._lost)
        except BaseException:
            self._free_slot()
            raise
        if not client.is_connected:
            self._free_slot()
            raise UnavailableError(f"{self._link.who} ended the link at once")
        self._client, self._lease_end = client, None
        self.mtu = client.mtu_size
        return client

    # ------------------------------------------------------------ giving up ----

    async def _rest(self) -> None:
        """After a use: give up at once, soon, in turn, or not at all."""
        if self._client is None:
            return
        slots, loop = self._radio.slots, asyncio.get_running_loop()
        if self._leaving:
            await self._disconnect()
        elif self._link.keep_link:
            pass
        elif self.opening:
            slots.rest(self, lease_end=loop.time() + _OPENING_SECONDS)
            self._give_up_after(max(self._link.idle_release, _OPENING_SECONDS))
        elif self.pushing.wanted:
            slots.rest(self, lease_end=self._lease())
        elif slots.wanted:
            await self._disconnect()
        else:
            slots.rest(self)
            self._give_up_after(self._link.idle_release)

    def _lease(self) -> float:
        """Time until which the link is kept; a turn that others wait for ends when all is told."""
        if self._lease_end is None:
            now = asyncio.get_running_loop().time()
            done = self._radio.slots.wanted and self.pushing.complete
            self._lease_end = now if done else now + self._link.lease
        return self._lease_end

    def told_all(self) -> None:
        """Everything has been pushed once: a link that others wait for has done its turn."""
        if self._radio.slots.wanted and self._lease_end is not None:
            self._lease_end = asyncio.get_running_loop().time()
            if not self._lock.locked():
                self._radio.slots.rest(self, lease_end=self._lease_end)

    def _give_up_after(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.give_up)

    def give_up(self) -> None:
        """End the link, unless it is in use: then afterwards; returns at once."""
        self._radio.spawn(self._give_up())

    async def _give_up(self) -> None:
        if self._lock.locked():
            self._leaving = True
            return
        async with self._lock:
            await self._disconnect()

    async def close(self) -> None:
        """End the link for good; never raises."""
        self._closed = True
        self._cancel_timer()
        async with self._lock:
            await self._disconnect()

    async def _disconnect(self) -> None:
        self._cancel_timer()
        self._leaving = False
        client, self._client = self._client, None
        try:
            if client is not None:
                self._radio.tally["links_released"] += 1
                self.pushing.ended()
                async with asyncio.timeout(_DISCONNECT_SECONDS):
                    with translated("disconnecting"):
                        await client.disconnect()
        except (DmiError, TimeoutError):
            # It is as good as gone; the next connection cleans up what is left.
            self._radio.tally["disconnects_failed"] += 1
        finally:
            self._free_slot()
            if client is not None and self.pushing.wanted and not self._closed:
                self._await_turn()

    # --------------------------------------------------------------- in turns ----

    def _await_turn(self) -> None:
        """Others have the slot now; come back when there is one, or when they had their time."""
        self._radio.note_yield(self._link)
        self._timer = asyncio.get_running_loop().call_later(self._link.lease, self.come_back)
        self._radio.slots.hope(self)

    def come_back(self) -> None:
        """Be connected again, for a turn at least; returns at once."""
        self._radio.spawn(self._take_turn())

    async def _take_turn(self) -> None:
        if self._client is not None or self._closed:
            return
        try:
            async with self.use():
                self._radio.tally["turns_taken"] += 1
        except DmiError as error:
            if not self._closed:
                self._on_lost(error)

    # ------------------------------------------------------------------ loss ----

    def _lost(self) -> None:
        """The link has ended, by our doing or not."""
        if self._client is None:
            return
        self._client, self._leaving = None, False
        self._cancel_timer()
        self._radio.tally["links_lost"] += 1
        self._was_lost = self.kept
        self.pushing.ended()
        self._free_slot()
        self._on_lost(UnavailableError(f"the link to {self._link.who} is lost"))

    def _free_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._radio.slots.release(self)

    def _cancel_timer(self) -> None:
        self._radio.slots.despair(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
