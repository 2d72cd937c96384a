"""One radio, shared by all devices that are heard or reached by it.

Here, in `gatt` and in `discovery` alone bleak is called. A task of its own keeps the radio open
and the scan running, for as long as somebody uses it.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from bleak import BleakClient, BleakScanner
from bleak.args.bluez import OrPattern
from bleak.assigned_numbers import AdvertisementDataType
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak_retry_connector import (
    close_stale_connections,
    close_stale_connections_by_address,
    establish_connection,
)

from dmi.errors import ConfigError, DmiError, UnavailableError
from mappers.ble.advertisements import Identity
from mappers.ble.audience import Audience, Listener
from mappers.ble.config import BleLink, Scan
from mappers.ble.ladder import Ladder, Rung
from mappers.ble.links.slots import Slots
from mappers.ble.radio import PairingWay, RadioBackend, is_bluez, open_radio
from mappers.ble.secrets import read_passkey
from mappers.ble.troubles import translated

__all__ = ["SharedRadio", "scanner_for"]

log = logging.getLogger(__name__)

_SILENCE = 60.0
"""Seconds without any advertisement at all after which the scan is doubted."""
_LOOK_EVERY = 5.0
_CYCLE_AT_MOST_EVERY = 600.0
"""Seconds between two power cycles: others may use the adapter too."""
_FAILURES = 3

_FLAGS = (b"\x02", b"\x04", b"\x05", b"\x06", b"\x1a")
"""BlueZ wants to know what to listen for: the flags that nearly all advertisements begin with."""


class SharedRadio:
    """An open radio. `open` it by `Bus.borrow`, so that each is opened once.

    Attributes:
        slots: Who has a link.
        broken: Why nothing works any more; None while it does.
    """

    def __init__(self, link: BleLink, tally: "Counter[str]") -> None:
        self.name = link.radio
        self.tally = tally
        self.slots = Slots(link.slots)
        self.broken: DmiError | None = None
        self._active = link.scan is Scan.ACTIVE
        self._bonds = link.bonds
        self._backend: RadioBackend | None = None
        self._scanner: BleakScanner | None = None
        self._group: asyncio.TaskGroup | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._closing = False
        self._rung: Rung | None = None
        self._audience = Audience()
        self._connecting = asyncio.Lock()
        self._links = Ladder(tuple(Rung), _FAILURES)
        self._silence = Ladder((Rung.RESTART_SCAN, Rung.POWER_CYCLE, Rung.REOPEN), 1)
        self._doubted = time.monotonic()
        self._last_cycle = -_CYCLE_AT_MOST_EVERY
        self._crowd_told = False

    # --------------------------------------------------------------- life ----

    @classmethod
    async def open(cls, link: BleLink, tally: "Counter[str]") -> "SharedRadio":
        """Open the radio of a device and begin to scan.

        Raises:
            DmiError: There is no such radio, or we may not use it; says the cure.
        """
        radio = cls(link, tally)
        ready = asyncio.get_running_loop().create_future()
        # The sessions that borrow the radio come and go; what it is made of must be closed
        # by the task that opened it. So it has one, which `close` awaits.
        radio._keeper = asyncio.create_task(radio._keep(ready), name=f"radio {link.radio}")
        radio._keeper.add_done_callback(radio._on_end)
        try:
            await ready
        except BaseException:
            await radio.close()
            raise
        return radio

    async def close(self) -> None:
        """Stop scanning and let the radio go."""
        self._closing = True
        self._bell.set()
        if self._keeper is not None:
            if self._backend is None:
                self._keeper.cancel()
            await asyncio.wait([self._keeper])

    async def _keep(self, ready: "asyncio.Future[None]") -> None:
        try:
            async with (
                open_radio(self.name, self._bonds) as backend,
                asyncio.TaskGroup() as group,
            ):
                self._backend, self._group = backend, group
                lost = group.create_task(self._watch_loss(backend))
                try:
                    await self._start_scan()
                    ready.set_result(None)
                    await self._attend()
                finally:
                    self._group = None  # Nothing more begins in a group that ends.
                    lost.cancel()
                    await self._stop_scan()
        except* DmiError as group_of_errors:
            self._fail(_first(group_of_errors))
        finally:
            if not ready.done():
                stopped = UnavailableError(f"the radio {self.name} was not opened")
                ready.set_exception(self.broken or stopped)
                ready.exception()  # Marks it as seen: who opened it may have left.

    def _on_end(self, keeper: "asyncio.Task[None]") -> None:
        """The keeper is done; whatever ended it, nobody must wait for the radio any longer."""
        error = None if keeper.cancelled() else keeper.exception()
        if error is not None:
            log.error("the radio %s stopped by a bug", self.name, exc_info=error)
            self._fail(UnavailableError(f"the radio {self.name} stopped: {error}"))

    async def _watch_loss(self, backend: RadioBackend) -> None:
        await backend.lost.wait()
        self.tally["radio_lost"] += 1
        self._group = None
        raise UnavailableError(f"the radio {self.name} is gone")

    async def _attend(self) -> None:
        """Do what the ladders ask for, until the radio is closed."""
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._bell.wait()
            self._bell.clear()
            if self._closing:
                return
            await self._check()
            rung, self._rung = self._rung, None
            if rung is None and self._is_silent():
                rung = self._silence.fail()
            if rung is not None:
                await self._climb(rung)

    async def _check(self) -> None:
        """Look why nobody at all is heard; radios that are off stay silent and say nothing."""
        if self._backend is not None and self._audience.silence >= _LOOK_EVERY:
            await self._backend.check()

    def _is_silent(self) -> bool:
        """Whether nobody at all was heard for longer than the devices' own pace explains."""
        pace = self._audience.slowest_pace
        if self._audience.last_packet > self._doubted:
            self._silence.succeed()
        last = max(self._audience.last_packet, self._doubted)
        return pace is not None and time.monotonic() - last > max(_SILENCE, pace)

    async def _climb(self, rung: Rung) -> None:
        now = time.monotonic()
        if rung is not Rung.RESTART_SCAN and self.slots.taken:
            rung = Rung.RESTART_SCAN  # Links that work are not to pay for it.
        elif rung is Rung.POWER_CYCLE:
            if now - self._last_cycle < _CYCLE_AT_MOST_EVERY:
                rung = Rung.RESTART_SCAN
            else:
                self._last_cycle = now
        self.tally[rung.value] += 1
        log.warning("radio %s: trying to recover, %s", self.name, rung.value)
        self._doubted = now
        if rung is Rung.REOPEN:
            raise UnavailableError(f"the radio {self.name} does not recover; it is opened anew")
        await self._stop_scan()
        if rung is Rung.POWER_CYCLE and self._backend is not None:
            await self._backend.power_cycle()
            # BlueZ has forgotten the devices, too, that were not connected.
            self._audience.forget()
        await self._start_scan()

    def _fail(self, error: DmiError) -> None:
        self.broken = error
        self._audience.fail(error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done that outlives its caller; not after the radio was closed."""
        if self._group is None or self._closing or self.broken is not None:
            work.close()
            return
        self._group.create_task(work)

    # --------------------------------------------------------------- scan ----

    @property
    def backend(self) -> RadioBackend:
        """The radio in the words of bleak.

        Raises:
            UnavailableError: It is not open.
        """
        if self.broken is not None:
            raise self.broken
        if self._backend is None:
            raise UnavailableError(f"the radio {self.name} is not open")
        return self._backend

    async def _start_scan(self) -> None:
        await self.backend.check()
        scanner = scanner_for(self.backend, self._audience.hear, active=self._active)
        with translated(f"scanning by {self.name}"):
            await scanner.start()
        self._scanner = scanner

    async def _stop_scan(self) -> None:
        scanner, self._scanner = self._scanner, None
        if scanner is not None:
            try:
                with translated(f"scanning by {self.name}"):
                    await scanner.stop()
            except DmiError as error:
                log.debug("the scan by %s does not stop: %s", self.name, error)

    def listen(self, listener: Listener) -> None:
        """Hand a device its advertisements, the last one at once if it is fresh.

        Raises:
            ConfigError: It wants its bond kept elsewhere than the others of this radio.
        """
        link = listener.tracker.link
        if link.pair and link.bonds != self._bonds and not is_bluez(self.name):
            raise ConfigError(
                f"bondDir must be the same for all devices of {self.name}; here it is {self._bonds}"
            )
        self.slots.count = min(self.slots.count, link.slots)
        if link.scan is Scan.ACTIVE and not self._active:
            self._active = True
            self._rung = Rung.RESTART_SCAN
            self._bell.set()
        self._audience.add(listener)

    def ignore(self, listener: Listener) -> None:
        """Hand it nothing more."""
        self._audience.remove(listener)

    async def find(self, link: BleLink, identity: Identity) -> BLEDevice:
        """Wait until a device is heard.

        Raises:
            UnavailableError: It is not, in time.
        """
        self.backend  # noqa: B018 - raises where the radio is broken
        return await self._audience.find(link, identity)

    # --------------------------------------------------------------- links ----

    def note_yield(self, link: BleLink) -> None:
        """A device gave up a link over which something is pushed, because others waited."""
        self.tally["links_yielded"] += 1
        level = logging.DEBUG if self._crowd_told else logging.WARNING
        self._crowd_told = True
        log.log(
            level,
            "radio %s: more devices want to keep a link than its %d slots; %s and others are "
            "served in turns of %g s",
            self.name,
            self.slots.count,
            link.who,
            link.lease,
        )

    async def connect(
        self, link: BleLink, identity: Identity, on_lost: Callable[[], None]
    ) -> BleakClient:
        """Connect a device that has a slot; one at a time.

        Raises:
            DmiError: It cannot be reached, or refuses.
        """
        device = await self.find(link, identity)
        async with self._connecting:
            try:
                client = await self._establish(link, device, on_lost)
            except UnavailableError:
                self.tally["connects_failed"] += 1
                await self._note_failure(device)
                raise
        self._links.succeed()
        self.tally["connects"] += 1
        return client

    async def await_sight(self, link: BleLink, identity: Identity) -> None:
        """Wait until a device is heard, before it takes a slot that others could use.

        One that BlueZ still holds a link to does not advertise until that ends: it is ended.

        Raises:
            UnavailableError: It is not heard, in time.
        """
        try:
            await self.find(link, identity)
        except UnavailableError:
            if self.broken is not None or link.address is None or not is_bluez(self.name):
                raise
        else:
            return
        self.tally[Rung.CLEAN_LINKS.value] += 1
        with translated("closing stale links"):
            await close_stale_connections_by_address(link.address)
        await self.find(link, identity)

    async def _establish(
        self, link: BleLink, device: BLEDevice, on_lost: Callable[[], None]
    ) -> BleakClient:
        backend, pair = self.backend, False
        with translated(f"connecting to {link.who}"):
            async with asyncio.timeout(link.connect_timeout):
                if link.pair:
                    passkey = None if link.passkey is None else read_passkey(link.passkey)
                    way = PairingWay(passkey, link.confirm_numbers)
                    pair = await backend.prepare_pairing(device, way)
                return await establish_connection(
                    BleakClient,
                    device,
                    link.who,
                    disconnected_callback=lambda _client: on_lost(),
                    max_attempts=link.attempts,
                    pair=pair,
                    backend=backend.client,
                    **backend.kwargs,
                )

    async def _note_failure(self, device: BLEDevice) -> None:
        """A device that is heard cannot be connected: after some times more is done."""
        rung = self._links.fail()
        if rung is Rung.CLEAN_LINKS:
            self.tally[rung.value] += 1
            if is_bluez(self.name):
                with translated("closing stale links"):
                    await close_stale_connections(device)
        elif rung is not None:
            self._rung = rung
            self._bell.set()


def scanner_for(
    backend: RadioBackend,
    heard: Callable[[BLEDevice, AdvertisementData], None],
    *,
    active: bool,
) -> BleakScanner:
    """Make a scanner on a radio."""
    options: dict[str, Any] = dict(backend.kwargs)
    if not active and backend.scanner is None:
        patterns = [OrPattern(0, AdvertisementDataType.FLAGS, flags) for flags in _FLAGS]
        options["bluez"] = {**options.get("bluez", {}), "or_patterns": patterns}
    return BleakScanner(
        heard,
        scanning_mode="active" if active else "passive",
        backend=backend.scanner,
        **options,
    )


def _first(errors: "BaseExceptionGroup[DmiError]") -> DmiError:
    for error in errors.exceptions:
        if isinstance(error, DmiError):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
    raise AssertionError("a group of DmiErrors has one")
