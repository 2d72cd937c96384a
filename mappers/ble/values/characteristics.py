"""The characteristics that the Bluetooth SIG defines, by name, with what they hold.

Source: Bluetooth Assigned Numbers, section 3.8, and GATT Specification Supplement. A number
is raw x scale; characteristics with flags and optional fields are decoded by a function.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from dmi.errors import ConversionError
from dmi.readings import Value
from mappers.ble.formats.packet import full_uuid
from mappers.ble.values.payloads import FieldType, Layout, decode_field

__all__ = ["BY_NAME", "BY_UUID", "Standard", "decode_standard"]


class Standard(NamedTuple):
    """One characteristic.

    Attributes:
        uuid: Its 16 bits, as hexadecimal digits.
        type: What it holds; None where `fields` decodes it.
        divisor: The raw number is divided by this.
        fields: Gives its parts by name; the first one is what a property without `field` gets.
    """

    name: str
    uuid: str
    type: FieldType | None
    divisor: int = 1
    fields: Callable[[bytes], Mapping[str, Value]] | None = None


def _heart_rate(data: bytes) -> Mapping[str, Value]:
    flags = data[0]
    wide = flags & 0x01
    at = 3 if wide else 2
    found: dict[str, Value] = {
        "heart_rate": decode_field(data, Layout(FieldType.UINT16 if wide else FieldType.UINT8, 1))
    }
    if flags & 0x04:
        found["contact"] = bool(flags & 0x02)
    if flags & 0x08:
        found["energy"] = decode_field(data, Layout(FieldType.UINT16, at))
        at += 2
    if flags & 0x10 and len(data) >= at + 2:
        found["rr_interval"] = struct.unpack_from("<H", data, len(data) - 2)[0] / 1024
    return found


def _thermometer(data: bytes) -> Mapping[str, Value]:
    flags = data[0]
    number = float(decode_field(data, Layout(FieldType.FLOAT, 1)))
    # Always given in Celsius; the thermometer may send Fahrenheit.
    found: dict[str, Value] = {
        "temperature": round((number - 32) / 1.8, 3) if flags & 0x01 else number
    }
    at = 5
    if flags & 0x02:
        found["time"] = _date(data[at : at + 7])
        at += 7
    if flags & 0x04:
        found["type"] = decode_field(data, Layout(FieldType.UINT8, at))
    return found


def _blood_pressure(data: bytes) -> Mapping[str, Value]:
    flags = data[0]
    # Always given in mmHg; 1 kPa is 7.50062 mmHg.
    factor = 7.50062 if flags & 0x01 else 1.0
    found: dict[str, Value] = {}
    for index, name in enumerate(("systolic", "diastolic", "mean")):
        number = float(decode_field(data, Layout(FieldType.SFLOAT, 1 + 2 * index)))
        found[name] = round(number * factor, 2)
    at = 7
    if flags & 0x02:
        found["time"] = _date(data[at : at + 7])
        at += 7
    if flags & 0x04:
        found["pulse"] = decode_field(data, Layout(FieldType.SFLOAT, at))
    return found


def _weight(data: bytes) -> Mapping[str, Value]:
    raw = int(decode_field(data, Layout(FieldType.UINT16, 1)))
    found: dict[str, Value] = {"weight": round(raw * 0.01 * 0.45359237, 3)}
    if not data[0] & 0x01:
        found["weight"] = raw * 5 / 1000
    if data[0] & 0x02:
        found["time"] = _date(data[3:10])
    return found


def _time(data: bytes) -> Mapping[str, Value]:
    return {"time": _date(data[:7])}


def _date(data: bytes) -> str:
    if len(data) < 7:
        raise ConversionError("the time is cut")
    year, month, day, hour, minute, second = struct.unpack("<HBBBBB", data)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def _pnp(data: bytes) -> Mapping[str, Value]:
    source, vendor, product, version = struct.unpack("<BHHH", data[:7].ljust(7, b"\0"))
    return {
        "pnp": f"{vendor:04x}:{product:04x}",
        "vendor": vendor,
        "product": product,
        "version": version,
        "source": source,
    }


_TEXT = FieldType.STRING
_ALL = (
    Standard("device_name", "2a00", _TEXT),
    Standard("appearance", "2a01", FieldType.UINT16),
    Standard("tx_power_level", "2a07", FieldType.INT8),
    Standard("battery_level", "2a19", FieldType.UINT8),
    Standard("temperature_measurement", "2a1c", None, fields=_thermometer),
    Standard("temperature_type", "2a1d", FieldType.UINT8),
    Standard("intermediate_temperature", "2a1e", None, fields=_thermometer),
    Standard("measurement_interval", "2a21", FieldType.UINT16),
    Standard("system_id", "2a23", FieldType.BYTES),
    Standard("model_number", "2a24", _TEXT),
    Standard("serial_number", "2a25", _TEXT),
    Standard("firmware_revision", "2a26", _TEXT),
    Standard("hardware_revision", "2a27", _TEXT),
    Standard("software_revision", "2a28", _TEXT),
    Standard("manufacturer_name", "2a29", _TEXT),
    Standard("current_time", "2a2b", None, fields=_time),
    Standard("blood_pressure_measurement", "2a35", None, fields=_blood_pressure),
    Standard("heart_rate_measurement", "2a37", None, fields=_heart_rate),
    Standard("body_sensor_location", "2a38", FieldType.UINT8),
    Standard("pnp_id", "2a50", None, fields=_pnp),
    Standard("elevation", "2a6c", FieldType.INT24, 100),
    Standard("pressure", "2a6d", FieldType.UINT32, 10),
    Standard("temperature", "2a6e", FieldType.INT16, 100),
    Standard("humidity", "2a6f", FieldType.UINT16, 100),
    Standard("true_wind_speed", "2a70", FieldType.UINT16, 100),
    Standard("true_wind_direction", "2a71", FieldType.UINT16, 100),
    Standard("uv_index", "2a76", FieldType.UINT8),
    Standard("irradiance", "2a77", FieldType.UINT16, 10),
    Standard("rainfall", "2a78", FieldType.UINT16),
    Standard("dew_point", "2a7b", FieldType.INT8),
    Standard("weight_measurement", "2a9d", None, fields=_weight),
    Standard("digital", "2a56", FieldType.BYTES),
    Standard("analog", "2a58", FieldType.UINT16),
    Standard("electric_current", "2aee", FieldType.UINT16, 100),
    Standard("illuminance", "2afb", FieldType.UINT24, 100),
    Standard("power", "2b05", FieldType.UINT24, 10),
    Standard("voltage", "2b18", FieldType.UINT16, 64),
    Standard("co2_concentration", "2b8c", FieldType.UINT16),
)

BY_NAME: Mapping[str, Standard] = MappingProxyType({each.name: each for each in _ALL})
"""By the name that a property's `characteristic` may say."""

BY_UUID: Mapping[str, Standard] = MappingProxyType({full_uuid(each.uuid): each for each in _ALL})
"""By UUID of 128 bits in lower case."""


def decode_standard(standard: Standard, data: bytes, field: str = "") -> Value:
    """Read a characteristic as its definition says.

    Args:
        standard: Which one it is.
        data: What was read.
        field: The part that is wanted; empty for the first.

    Raises:
        ConversionError: The data is too short, or this part is not in it.
    """
    if standard.fields is not None:
        if not data:
            raise ConversionError(f"{standard.name} is empty")
        found = standard.fields(data)
        if field and field not in found:
            raise ConversionError(f"{standard.name} brings no {field}; it has {', '.join(found)}")
        return found[field] if field else next(iter(found.values()))
    value = decode_field(data, Layout(standard.type or FieldType.BYTES))
    if isinstance(value, int) and standard.divisor != 1:
        return value / standard.divisor
    return value
