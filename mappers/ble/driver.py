"""The BLE driver: a device that is heard, or one that is connected."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from dmi.errors import DmiError, NotFoundError, UnavailableError, UnsupportedError
from dmi.readings import Reading, Value
from mapper_sdk.driver import Answer, Discovering, Driver, Proposal, Publish, Subscribing
from mappers.ble.advertisements import Tracker
from mappers.ble.audience import Listener
from mappers.ble.config import BleLink
from mappers.ble.links.gatt_link import GattLink
from mappers.ble.links.subscriptions import Subscriptions, decoded, may_push
from mappers.ble.shared_radio import SharedRadio
from mappers.ble.visit import BleVisit, Source

__all__ = ["BleDriver"]

_MARGIN = 5.0
_FIRST_PACKET = 8.0


class BleDriver(Driver[BleLink, BleVisit], Subscribing[BleVisit], Discovering):
    """One device, by the radio that it shares with others."""

    protocol_name = "ble"
    link_model = BleLink
    visit_model = BleVisit
    takes_turns = False
    longest_wait = 10.0
    looking_setting = "seconds"

    def __init__(self, link: BleLink) -> None:
        super().__init__(link)
        self.patience = _patience(link)
        self._radio: SharedRadio | None = None
        self._tracker: Tracker | None = None
        self._listener: Listener | None = None
        self._gatt: GattLink | None = None
        self._subscriptions = Subscriptions(self._told_all)
        self._visits: Sequence[BleVisit] = ()
        self._pushed: set[int] = set()
        self._publish: Publish | None = None
        self._stale_timer: asyncio.TimerHandle | None = None
        self._heard = asyncio.Event()

    @classmethod
    def bus_key(cls, link: BleLink) -> str | None:
        """The radio. Its devices share it, but need not take turns: the radio queues itself."""
        return f"ble:{link.radio}"

    @classmethod
    def discover(cls, settings: Mapping[str, Any]) -> AsyncIterator[Proposal]:
        """Listen, and propose a model and a device for each one heard; see `discovery`."""
        from mappers.ble.discovery import discover

        return discover(settings)

    # ---------------------------------------------------------- connection ----

    async def connect(self) -> None:
        """Join the radio; then hear the device once, or connect it."""
        self._tracker = tracker = Tracker(self.link)
        self._heard.clear()
        radio = await self.bus.borrow(lambda: SharedRadio.open(self.link, type(self).tally))
        self._radio = radio
        self._listener = Listener(tracker, self._on_packet, self._on_radio_lost)
        try:
            radio.listen(self._listener)
            if self.link.connects:
                self._gatt = GattLink(
                    radio, self.link, tracker.identity, self._subscriptions, self._on_link_lost
                )
                self._gatt.opening = True
                async with self._gatt.use():
                    pass
            else:
                await self._first_packet(tracker)
        except BaseException:
            await self.close()
            raise

    async def _first_packet(self, tracker: Tracker) -> None:
        if tracker.last is not None:
            return
        seconds = min(_FIRST_PACKET, self.link.freshness)
        try:
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        except TimeoutError:
            self._check_radio()
            raise UnavailableError(
                f"{self.link.who} has not been heard by {self.link.radio} for {seconds:g} s"
            ) from None
        self._check_radio()

    async def close(self) -> None:
        """End the link, and leave the radio; its last user closes it."""
        if self._stale_timer is not None:
            self._stale_timer.cancel()
            self._stale_timer = None
        self._publish, self._visits, self._pushed = None, (), set()
        self._subscriptions.forget()
        gatt, self._gatt = self._gatt, None
        radio, self._radio = self._radio, None
        try:
            if gatt is not None:
                await gatt.close()
        finally:
            if radio is not None:
                if self._listener is not None:
                    radio.ignore(self._listener)
                if radio.broken is not None:
                    self.bus.discard(radio)
                await self.bus.give_back(radio, SharedRadio.close)

    def _check_radio(self) -> SharedRadio:
        if self._radio is None:
            raise UnavailableError("the device is not connected")
        if self._radio.broken is not None:
            self.bus.discard(self._radio)
            raise self._radio.broken
        return self._radio

    # ----------------------------------------------------------- exchanges ----

    async def read(self, visits: Sequence[BleVisit]) -> Sequence[Answer]:
        """Say what was heard last, and read what has to be read over the link."""
        self._check_radio()
        tracker = self._tracker
        if tracker is None:
            raise UnavailableError("the device is not connected")
        if self._gatt is None:
            return tracker.read(visits, time.time())
        if not any(visit.source is Source.CHARACTERISTIC for visit in visits):
            return [self._from_air(visit, tracker) for visit in visits]
        return await self._read_link(visits, tracker, self._gatt)

    async def _read_link(
        self, visits: Sequence[BleVisit], tracker: Tracker, gatt: GattLink
    ) -> Sequence[Answer]:
        raw: dict[tuple[str | None, ...], bytes | DmiError] = {}
        answers: list[Answer] = []
        async with gatt.use() as exchange:
            gatt.opening = False
            for visit in visits:
                if visit.source is not Source.CHARACTERISTIC:
                    answers.append(self._from_air(visit, tracker))
                    continue
                if (latest := self._subscriptions.latest(visit)) is not None:
                    answers.append(latest)
                    continue
                key = (visit.service, visit.characteristic, visit.descriptor)
                if key not in raw:
                    try:
                        raw[key] = await exchange.read(visit)
                    except UnavailableError:
                        raise
                    except DmiError as error:
                        raw[key] = error
                answers.append(decoded(raw[key], visit))
        return answers

    def _from_air(self, visit: BleVisit, tracker: Tracker) -> Answer:
        """What the advertisements say; a device that is connected may stop them meanwhile."""
        if self._gatt is not None and visit.field == "mtu":
            return self._gatt.mtu
        answer = tracker.answer(visit, time.time())
        if self._gatt is not None and isinstance(answer, UnavailableError):
            return NotFoundError(answer.message)
        return answer

    async def write(self, visit: BleVisit, value: Value) -> None:
        """Write a characteristic."""
        self._check_radio()
        if self._gatt is None or visit.source is not Source.CHARACTERISTIC:
            raise UnsupportedError("what is advertised cannot be written")
        async with self._gatt.use() as exchange:
            await exchange.write(visit, value)

    # ----------------------------------------------------------- subscribing ----

    async def subscribe(
        self, visits: Sequence[BleVisit], publish: Publish
    ) -> Sequence[DmiError | None]:
        """Push what is heard, and have the device push what it can."""
        self._check_radio()
        self._visits, self._publish, self._pushed = visits, publish, set()
        refusals: list[DmiError | None] = [None] * len(visits)
        characteristics = [i for i, v in enumerate(visits) if v.source is Source.CHARACTERISTIC]
        if self._gatt is None:
            for index in characteristics:
                refusals[index] = UnsupportedError("set `kind: gatt` to read characteristics")
        else:
            for index, refusal in await self._subscribe_link(self._gatt, characteristics):
                refusals[index] = refusal
        for index, visit in enumerate(visits):
            if visit.field == "mtu" and visit.source is Source.FIELD:
                refusals[index] = UnsupportedError("is polled")
        self._watch_staleness()
        return refusals

    async def _subscribe_link(
        self, gatt: GattLink, indexes: Sequence[int]
    ) -> list[tuple[int, DmiError | None]]:
        visits, publish = self._visits, self._publish
        pushed = any(may_push(visits[index]) for index in indexes)
        if publish is None or not (pushed or self._subscriptions.wanted):
            return [(index, UnsupportedError("is polled")) for index in indexes]
        async with gatt.use() as exchange:
            return await self._subscriptions.begin(exchange, visits, indexes, publish)

    def _told_all(self) -> None:
        if self._gatt is not None:
            self._gatt.told_all()

    # --------------------------------------------------------------- events ----

    def _on_packet(self) -> None:
        """Something new was heard: say it of each property that it touches."""
        self._heard.set()
        publish, tracker = self._publish, self._tracker
        if publish is None or tracker is None:
            return
        now = time.time()
        for index, visit in enumerate(self._visits):
            if tracker.updated(visit):
                publish(index, tracker.answer(visit, now))

    def _watch_staleness(self) -> None:
        """Say when a value has become old, though nobody asks."""
        if self._stale_timer is not None:
            self._stale_timer.cancel()
        limits = [
            visit.freshness or self.link.freshness
            for visit in self._visits
            if visit.source is not Source.CHARACTERISTIC
        ]
        if not limits:
            self._stale_timer = None
            return
        self._pushed = set()
        self._stale_timer = asyncio.get_running_loop().call_later(
            min(min(limits), self.link.lost_after) / 4, self._look_for_stale
        )

    def _look_for_stale(self) -> None:
        publish, tracker = self._publish, self._tracker
        if publish is None or tracker is None:
            return
        stale = set()
        for index, visit in enumerate(self._visits):
            if visit.source is Source.CHARACTERISTIC or visit.field == "mtu":
                continue
            answer = self._from_air(visit, tracker)
            lost = isinstance(answer, UnavailableError)
            if lost or (isinstance(answer, Reading) and answer.reason == "stale"):
                stale.add(index)
                if lost or index not in self._pushed:
                    publish(index, answer)
        self._watch_staleness()
        self._pushed = stale

    def _on_link_lost(self, error: DmiError) -> None:
        self._tell_all(error)

    def _on_radio_lost(self, error: DmiError) -> None:
        self._heard.set()
        self._tell_all(UnavailableError(error.message))

    def _tell_all(self, error: DmiError) -> None:
        if self._publish is not None and (self._gatt is None or self._gatt.kept):
            for index in range(len(self._visits)):
                self._publish(index, error)


def _patience(link: BleLink) -> float:
    if link.connects:
        return link.slot_timeout + 3 * link.find_timeout + link.connect_timeout + _MARGIN
    return _FIRST_PACKET + _MARGIN
