"""BTHome v2, open and encrypted. Source: bthome.io/format and bthome.io/encryption."""

from collections.abc import Mapping
from typing import NamedTuple

from dmi.errors import ConversionError
from dmi.readings import Value
from mappers.ble.formats.packet import Decoded, Format, Packet, full_uuid
from mappers.ble.formats.sealed import open_sealed

__all__ = ["BTHOME", "KINDS", "NUMBERS", "Number"]

_UUID = full_uuid("fcd2")
_VERSION = 2
_ENCRYPTED, _HAS_ADDRESS = 0x01, 0x02
_PACKET_ID = 0x00


class Number(NamedTuple):
    """A number of `size` bytes, little-endian: raw x numerator / divisor."""

    name: str
    size: int
    divisor: int = 1
    signed: bool = False
    numerator: int = 1


NUMBERS: Mapping[int, Number] = {
    0x01: Number("battery", 1),
    0x02: Number("temperature", 2, 100, signed=True),
    0x03: Number("humidity", 2, 100),
    0x04: Number("pressure", 3, 100),
    0x05: Number("illuminance", 3, 100),
    0x06: Number("mass", 2, 100),
    0x07: Number("mass_lb", 2, 100),
    0x08: Number("dewpoint", 2, 100, signed=True),
    0x09: Number("count", 1),
    0x0A: Number("energy", 3, 1000),
    0x0B: Number("power", 3, 100),
    0x0C: Number("voltage", 2, 1000),
    0x0D: Number("pm2_5", 2),
    0x0E: Number("pm10", 2),
    0x12: Number("co2", 2),
    0x13: Number("tvoc", 2),
    0x14: Number("moisture", 2, 100),
    0x2E: Number("humidity", 1),
    0x2F: Number("moisture", 1),
    0x3D: Number("count", 2),
    0x3E: Number("count", 4),
    0x3F: Number("rotation", 2, 10, signed=True),
    0x40: Number("distance_mm", 2),
    0x41: Number("distance", 2, 10),
    0x42: Number("duration", 3, 1000),
    0x43: Number("current", 2, 1000),
    0x44: Number("speed", 2, 100),
    0x45: Number("temperature", 2, 10, signed=True),
    0x46: Number("uv_index", 1, 10),
    0x47: Number("volume", 2, 10),
    0x48: Number("volume_ml", 2),
    0x49: Number("volume_flow_rate", 2, 1000),
    0x4A: Number("voltage", 2, 10),
    0x4B: Number("gas", 3, 1000),
    0x4C: Number("gas", 4, 1000),
    0x4D: Number("energy", 4, 1000),
    0x4E: Number("volume", 4, 1000),
    0x4F: Number("water", 4, 1000),
    0x50: Number("timestamp", 4),
    0x51: Number("acceleration", 2, 1000),
    0x52: Number("gyroscope", 2, 1000),
    0x55: Number("volume_storage", 4, 1000),
    0x56: Number("conductivity", 2),
    0x57: Number("temperature", 1, signed=True),
    0x58: Number("temperature", 1, 100, signed=True, numerator=35),
    0x59: Number("count", 1, signed=True),
    0x5A: Number("count", 2, signed=True),
    0x5B: Number("count", 4, signed=True),
    0x5C: Number("power", 4, 100, signed=True),
    0x5D: Number("current", 2, 1000, signed=True),
    0x5E: Number("direction", 2, 100),
    0x5F: Number("precipitation", 2, 10),
    0x60: Number("channel", 1),
    0x61: Number("rotational_speed", 2),
    0x62: Number("speed", 4, 1_000_000, signed=True),
    0x63: Number("acceleration", 4, 1_000_000, signed=True),
    0x64: Number("light_level", 1),
    0x65: Number("settings_revision", 1),
    0xF0: Number("device_type", 2),
}
"""By kind of object."""
_YES_OR_NO = {
    0x0F: "generic",
    0x10: "power_on",
    0x11: "opening",
    0x15: "battery_low",
    0x16: "battery_charging",
    0x17: "carbon_monoxide",
    0x18: "cold",
    0x19: "connectivity",
    0x1A: "door",
    0x1B: "garage_door",
    0x1C: "gas_detected",
    0x1D: "heat",
    0x1E: "light",
    0x1F: "lock",
    0x20: "moisture_detected",
    0x21: "motion",
    0x22: "moving",
    0x23: "occupancy",
    0x24: "plug",
    0x25: "presence",
    0x26: "problem",
    0x27: "running",
    0x28: "safety",
    0x29: "smoke",
    0x2A: "sound",
    0x2B: "tamper",
    0x2C: "vibration",
    0x2D: "window",
}
_BUTTONS = {
    0x00: "none",
    0x01: "press",
    0x02: "double_press",
    0x03: "triple_press",
    0x04: "long_press",
    0x05: "long_double_press",
    0x06: "long_triple_press",
    0x80: "hold_press",
    0x81: "hold_release",
}
_COMMANDS = {0x00: "off", 0x01: "on", 0x02: "toggle", 0x03: "step_up", 0x04: "step_down"}
_BUTTON, _COMMAND, _DIMMER, _TEXT, _RAW = 0x3A, 0x3B, 0x3C, 0x53, 0x54
_ARGUMENTS_LENGTH = 0x1F
"""The five lower bits; the others are reserved."""
_FIRMWARE = {0xF1: 4, 0xF2: 3}
_OTHERS = frozenset({_PACKET_ID, _BUTTON, _COMMAND, _DIMMER, _TEXT, _RAW})
KINDS = frozenset({*NUMBERS, *_YES_OR_NO, *_FIRMWARE, *_OTHERS})
"""All that are understood."""


class _Objects:
    """The objects of a payload, read one after the other."""

    def __init__(self, payload: bytes) -> None:
        self._rest = payload
        self._fields: dict[str, Value] = {}
        self._counts: dict[str, int] = {}
        self._packet_id: int | None = None

    def read(self) -> Decoded:
        """Read them all; what follows an object of unknown kind cannot be read."""
        while self._rest:
            kind = self._take(1)[0]
            if kind == _PACKET_ID:
                self._packet_id = self._take(1)[0]
            elif kind in NUMBERS:
                self._number(NUMBERS[kind])
            elif kind in _YES_OR_NO:
                self._put(_YES_OR_NO[kind], self._take(1) != b"\0")
            elif not self._other(kind):
                break
        return Decoded(self._fields, self._packet_id)

    def _other(self, kind: int) -> bool:
        """Read an object that is no number; False where its kind is unknown."""
        if kind == _BUTTON:
            pressed = self._take(1)[0]
            self._put("button", _BUTTONS.get(pressed, f"0x{pressed:02x}"))
        elif kind == _COMMAND:
            self._command()
        elif kind == _DIMMER:
            turned, steps = self._take(2)
            self._put("dimmer", {1: -steps, 2: steps}.get(turned, 0))
        elif kind == _TEXT:
            self._put("text", self._take(self._take(1)[0]).decode(errors="replace"))
        elif kind == _RAW:
            self._put("raw", self._take(self._take(1)[0]))
        elif kind in _FIRMWARE:
            parts = reversed(self._take(_FIRMWARE[kind]))
            self._put("firmware", ".".join(str(part) for part in parts))
        else:
            return False
        return True

    def _command(self) -> None:
        length, command = self._take(2)
        self._put("command", _COMMANDS.get(command, f"0x{command:02x}"))
        arguments = self._take(length & _ARGUMENTS_LENGTH)
        if arguments:
            self._put("command_arguments", arguments)

    def _number(self, number: Number) -> None:
        raw = int.from_bytes(self._take(number.size), "little", signed=number.signed)
        raw *= number.numerator
        self._put(number.name, raw if number.divisor == 1 else raw / number.divisor)

    def _put(self, name: str, value: Value) -> None:
        count = self._counts[name] = self._counts.get(name, 0) + 1
        self._fields[name if count == 1 else f"{name}_{count}"] = value

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        if len(taken) < size:
            raise ConversionError("the BTHome advertisement is cut")
        return taken


def _recognises(packet: Packet) -> bool:
    data = packet.service_data.get(_UUID)
    return bool(data) and data[0] >> 5 == _VERSION  # type: ignore[index]  # not None, not empty


def _decode(packet: Packet, key: bytes | None) -> Decoded | None:
    data = packet.service_data[_UUID]
    info, body = data[0], data[1:]
    address = packet.address_bytes
    if info & _HAS_ADDRESS:
        address, body = body[5::-1], body[6:]
    if not info & _ENCRYPTED:
        if key is not None:
            # Anybody can send an open packet; who set a key does not want to hear it.
            raise ConversionError("the advertisement is not encrypted, but there is a `bindKey`")
        return _Objects(body).read()
    if len(body) < 8:
        raise ConversionError("the BTHome advertisement is cut")
    counter = body[-8:-4]
    nonce = address + bytes.fromhex("d2fc") + bytes([info]) + counter
    decoded = _Objects(open_sealed(key, nonce, body[:-8], body[-4:])).read()
    count = int.from_bytes(counter, "little")
    number = count if decoded.packet_id is None else decoded.packet_id
    return Decoded(decoded.fields, number, count)


BTHOME = Format("bthome", _recognises, _decode)
"""BTHome version 2."""
