"""RuuviTag: data formats 5 (RAWv2) and 3 (RAWv1). Source: docs.ruuvi.com."""

import struct

from dmi.errors import ConversionError
from dmi.readings import Value
from mappers.ble.formats.packet import Decoded, Format, Packet

__all__ = ["RUUVI"]

_RUUVI = 0x0499
_RAW_V1, _RAW_V2 = 3, 5
_LENGTHS = {_RAW_V1: 14, _RAW_V2: 24}
_NO_INT16, _NO_UINT16, _NO_UINT8 = -0x8000, 0xFFFF, 0xFF


def _recognises(packet: Packet) -> bool:
    return packet.manufacturer_data.get(_RUUVI, b"")[:1] in {b"\x03", b"\x05"}


def _decode(packet: Packet, _key: bytes | None) -> Decoded:
    data = packet.manufacturer_data[_RUUVI]
    if len(data) < _LENGTHS[data[0]]:
        raise ConversionError(f"a Ruuvi packet has {_LENGTHS[data[0]]} bytes, not {len(data)}")
    return _raw_v2(data) if data[0] == _RAW_V2 else _raw_v1(data)


def _raw_v2(data: bytes) -> Decoded:
    temperature, humidity, pressure, x, y, z, power, movement, number = struct.unpack(
        ">hHHhhhHBH", data[1:18]
    )
    fields: dict[str, Value] = {}
    if temperature != _NO_INT16:
        fields["temperature"] = temperature / 200
    if humidity != _NO_UINT16:
        fields["humidity"] = humidity / 400
    if pressure != _NO_UINT16:
        fields["pressure"] = (pressure + 50_000) / 100
    for axis, raw in zip("xyz", (x, y, z), strict=True):
        if raw != _NO_INT16:
            fields[f"acceleration_{axis}"] = raw / 1000
    voltage, tx_power = power >> 5, power & 0x1F
    if voltage != 0x7FF:
        fields["voltage"] = (voltage + 1600) / 1000
    if tx_power != 0x1F:
        fields["tx_power"] = tx_power * 2 - 40
    if movement != _NO_UINT8:
        fields["movement"] = movement
    fields["address"] = ":".join(f"{byte:02X}" for byte in data[18:24])
    if number == _NO_UINT16:
        return Decoded(fields)
    fields["sequence"] = number
    return Decoded(fields, number)


def _raw_v1(data: bytes) -> Decoded:
    humidity, whole, hundredths, pressure, x, y, z, voltage = struct.unpack(">BBBHhhhH", data[1:14])
    # Sign and magnitude, not two's complement.
    temperature = (whole & 0x7F) + hundredths / 100
    return Decoded(
        {
            "temperature": -temperature if whole & 0x80 else temperature,
            "humidity": humidity / 2,
            "pressure": (pressure + 50_000) / 100,
            "acceleration_x": x / 1000,
            "acceleration_y": y / 1000,
            "acceleration_z": z / 1000,
            "voltage": voltage / 1000,
        }
    )


RUUVI = Format("ruuvi", _recognises, _decode)
"""RuuviTag."""
