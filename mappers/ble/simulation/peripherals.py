"""Devices that take connections: a thermometer with a battery, and heaters."""

import asyncio
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence

from bumble import att, hci
from bumble.core import UUID
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host
from bumble.keys import PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate

from mappers.ble.radio.air import Air, AirController
from mappers.ble.radio.pairing import Passkey
from mappers.ble.simulation.adverts import named
from mappers.ble.simulation.faults import FaultKind, Faults

__all__ = ["HEATER", "Heater", "Peripheral", "Thermometer", "heater_uuid"]

_READ = Characteristic.Properties.READ
_WRITE = Characteristic.Properties.WRITE
_QUIET_WRITE = Characteristic.Properties.WRITE_WITHOUT_RESPONSE
_NOTIFY = Characteristic.Properties.NOTIFY
_INDICATE = Characteristic.Properties.INDICATE
_MAY_READ = Characteristic.Permissions.READABLE
_MAY_WRITE = Characteristic.Permissions.WRITEABLE
_ENCRYPTED = Characteristic.Permissions.READ_REQUIRES_ENCRYPTION

_ADVERTISING_MS = 100.0
_AMBIENT = 18.0
_SECONDS = 8.0
LOG_SIZE = 512
"""Bytes of the heater's log: the longest value that GATT allows."""

Store = Callable[[bytes], None]
Push = tuple[Characteristic[bytes], bool]
"""A characteristic to push, and whether by indication."""


def heater_uuid(number: int) -> str:
    """UUID of the heater's service (1) or one of its characteristics (2 and on)."""
    return f"d4c2{number:04x}-6b1e-4d39-9f2a-646d69746f6f"


HEATER = {
    "service": heater_uuid(1),
    "setpoint": heater_uuid(2),
    "temperature": heater_uuid(3),
    "boost": heater_uuid(4),
    "log": heater_uuid(5),
    "code": heater_uuid(6),
    "name": heater_uuid(7),
}
"""UUIDs of the heater: float32 °C, little endian, for the first two; a byte of minutes; 512
bytes; four digits that only a paired link reads; UTF-8."""


class _Comparing(PairingDelegate):
    """A display, and two keys for yes and no; whoever stands there says yes."""

    def __init__(self, show: Callable[[int], None]) -> None:
        super().__init__(PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_YES_NO_INPUT)
        self._show = show

    async def compare_numbers(self, number: int, digits: int) -> bool:
        """Show it."""
        self._show(number)
        return True


class _Display(PairingDelegate):
    """A display for the passkey, and no keys."""

    def __init__(self, passkey: int) -> None:
        super().__init__(PairingDelegate.IoCapability.DISPLAY_OUTPUT_ONLY)
        self._passkey = Passkey(passkey)

    async def generate_passkey(self) -> int:
        """The one that this device always shows."""
        return self._passkey


class Peripheral(ABC):
    """One device with a GATT server of its own. What it holds outlives `vanish`.

    Attributes:
        name: Advertised; also how faults call it.
        address: A static random address.
        reads: Values read from it so far.
        writes: Values written to it so far.
        controller: Its own while it is there.
        passkey: Six digits that it shows to whoever pairs; without it, it pairs just so. Set it
            before it appears.
        compares: It wants to be paired by comparing numbers. Set it before it appears.
        shown: The number that it showed last to be compared.
        pairings: How often it was paired.
    """

    services_listed: Sequence[str] = ()

    def __init__(self, name: str, address: str, faults: Faults) -> None:
        self.name = name
        self.address = address
        self.reads = 0
        self.writes = 0
        self._faults = faults
        self.passkey: int | None = None
        self.compares = False
        self.shown = 0
        self.pairings = 0
        self._air: Air | None = None
        self.controller: AirController | None = None
        self._device: Device | None = None
        self._pushed: list[Push] = []

    @abstractmethod
    def services(self) -> list[Service]:
        """Make its services; calls `value` and `push` for their characteristics."""

    async def appear(self, air: Air) -> None:
        """Advertise, and take connections, one at a time."""
        self._air = air
        self.controller = controller = AirController(self.name, air)
        self._device = device = Device(
            address=hci.Address(self.address),
            config=DeviceConfiguration(name=self.name),
            host=Host(controller_source=controller, controller_sink=controller),
        )
        delegate: PairingDelegate | None = None
        if self.passkey is not None:
            delegate = _Display(self.passkey)
        elif self.compares:
            delegate = _Comparing(self._show)
        if delegate is not None:
            device.pairing_config_factory = lambda _: PairingConfig(mitm=True, delegate=delegate)
        device.on(Device.EVENT_CONNECTION, self._on_connection)
        self._pushed = []
        for service in self.services():
            device.add_service(service)
        await device.power_on()
        await device.start_advertising(
            advertising_data=named(self.name, self.services_listed),
            auto_restart=True,
            advertising_interval_min=_ADVERTISING_MS,
            advertising_interval_max=_ADVERTISING_MS,
        )

    def _show(self, number: int) -> None:
        self.shown = number

    def _on_connection(self, connection: Connection) -> None:
        connection.on(Connection.EVENT_PAIRING, self._on_pairing)

    def _on_pairing(self, _keys: PairingKeys) -> None:
        self.pairings += 1

    def vanish(self) -> None:
        """Lose power: links end, nothing is heard any more."""
        if self.controller is not None:
            self.controller.leave()
        self.controller = self._device = None

    def drop(self) -> None:
        """End its links; it can be connected again at once."""
        if self._air is not None:
            self._air.drop(hci.Address(self.address))

    @property
    def links(self) -> int:
        """How many centrals are connected."""
        return 0 if self._device is None else len(self._device.connections)

    async def push_all(self) -> None:
        """Notify and indicate once what is subscribed to."""
        device = self._device
        if device is None or not device.connections:
            return
        for characteristic, indicates in self._pushed:
            if indicates:
                await device.indicate_subscribers(characteristic)
            else:
                await device.notify_subscribers(characteristic)

    def value(
        self,
        uuid: str,
        properties: Characteristic.Properties,
        *,
        get: Callable[[], bytes] | None = None,
        put: Store | None = None,
        encrypted: bool = False,
    ) -> Characteristic[bytes]:
        """A characteristic whose reads and writes meet the faults.

        `put` raises ValueError for what it does not take: the ATT error 0x13.
        """
        permissions = Characteristic.Permissions(0)
        if get is not None:
            permissions |= _MAY_READ | (_ENCRYPTED if encrypted else permissions)
        if put is not None:
            permissions |= _MAY_WRITE
        made: Characteristic[bytes] = Characteristic(
            UUID(uuid),
            properties,
            permissions,
            CharacteristicValue(read=self._reader(get), write=self._writer(put)),
        )
        if properties & (_NOTIFY | _INDICATE):
            self._pushed.append((made, not properties & _NOTIFY))
        return made

    def _reader(
        self, get: Callable[[], bytes] | None
    ) -> Callable[[Connection | None], Awaitable[bytes]]:
        async def read(connection: Connection | None) -> bytes:
            if connection is not None:
                self.reads += 1
                await self._meet_faults()
            if get is None:
                raise att.ATT_Error(att.ErrorCode.READ_NOT_PERMITTED)
            return get()

        return read

    def _writer(self, put: Store | None) -> Callable[[Connection, bytes], Awaitable[None]]:
        async def write(_: Connection, value: bytes) -> None:
            self.writes += 1
            await self._meet_faults()
            if put is None:
                raise att.ATT_Error(att.ErrorCode.WRITE_NOT_PERMITTED)
            try:
                put(value)
            except (ValueError, struct.error):
                raise att.ATT_Error(att.ErrorCode.VALUE_NOT_ALLOWED) from None

        return write

    async def _meet_faults(self) -> None:
        faults, name = self._faults, self.name
        if (slow := faults.met_by(FaultKind.SLOW, name)) is not None:
            await asyncio.sleep(slow.parameter)
        if (drop := faults.met_by(FaultKind.DROP, name)) is not None:
            if drop.parameter == 1:
                faults.remove(drop)
            drop.parameter = max(drop.parameter - 1, 0)
            self.drop()
        if (error := faults.met_by(FaultKind.ERROR, name)) is not None:
            raise att.ATT_Error(att.ErrorCode(int(error.parameter)))


class Thermometer(Peripheral):
    """The Health Thermometer profile with indications, and a battery.

    Source:
        GATT Specification Supplement, Temperature Measurement, Battery Level.
    """

    services_listed = ("1809", "180f")

    def services(self) -> list[Service]:
        """0x1809, 0x180F and 0x180A."""
        measurement = self.value("2A1C", _INDICATE, get=self._measurement)
        kind = self.value("2A1D", _READ, get=lambda: b"\x02")
        battery = self.value("2A19", _READ | _NOTIFY, get=self._battery)
        maker = self.value("2A29", _READ, get=lambda: b"DMI works")
        serial = self.value("2A25", _READ, get=lambda: b"DMI-2026-000417")
        return [
            Service("1809", [measurement, kind]),
            Service("180F", [battery]),
            Service("180A", [maker, serial]),
        ]

    def _measurement(self) -> bytes:
        """Flags 0 (°C, no time), then an IEEE 11073 FLOAT: 24 bits mantissa, 8 exponent."""
        age = asyncio.get_running_loop().time()
        hundredths = round(3660 + 40 * math.sin(age / 15))
        return b"\x00" + hundredths.to_bytes(3, "little", signed=True) + struct.pack("b", -2)

    def _battery(self) -> bytes:
        return bytes((88,))


class Heater(Peripheral):
    """A heater of nobody's make: a set-point to write, and a temperature that goes there.

    Attributes:
        setpoint: °C, 5 to 90.
        boosted: Minutes that were last written without a response.
    """

    def __init__(self, name: str, address: str, faults: Faults) -> None:
        super().__init__(name, address, faults)
        self.setpoint = 20.0
        self.boosted = 0
        self._label = name.encode()
        self._warmth = _AMBIENT
        self._looked = 0.0

    def services(self) -> list[Service]:
        """The one service that `HEATER` lists."""
        made = [
            self.value(
                HEATER["setpoint"], _READ | _WRITE, get=self._get_setpoint, put=self._put_setpoint
            ),
            self.value(HEATER["temperature"], _READ | _NOTIFY, get=self._temperature),
            self.value(HEATER["boost"], _QUIET_WRITE, put=self._boost),
            self.value(HEATER["log"], _READ, get=lambda: bytes(i & 0xFF for i in range(LOG_SIZE))),
            self.value(HEATER["code"], _READ, get=lambda: b"4711", encrypted=True),
            self.value(HEATER["name"], _READ | _WRITE, get=self._get_label, put=self._put_label),
        ]
        return [Service(HEATER["service"], made)]

    def _get_setpoint(self) -> bytes:
        return struct.pack("<f", self.setpoint)

    def _put_setpoint(self, value: bytes) -> None:
        wanted: float = struct.unpack("<f", value)[0]
        if not 5 <= wanted <= 90:
            raise ValueError(wanted)
        self._temperature()
        self.setpoint = wanted

    def _temperature(self) -> bytes:
        now = asyncio.get_running_loop().time()
        passed, self._looked = now - self._looked if self._looked else 0.0, now
        self._warmth = self.setpoint + (self._warmth - self.setpoint) * math.exp(-passed / _SECONDS)
        return struct.pack("<f", self._warmth)

    def _boost(self, value: bytes) -> None:
        self.boosted = value[0] if value else 0

    def _get_label(self) -> bytes:
        return self._label

    def _put_label(self, value: bytes) -> None:
        self._label = bytes(value)
