import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.errors import ConversionError, UnsupportedError
from mappers.ble.links.exchange import encode
from mappers.ble.values.characteristics import BY_NAME, BY_UUID, decode_standard
from mappers.ble.values.payloads import Endianness, FieldType, Layout, decode_field, encode_field
from mappers.ble.visit import BleVisit

WHOLE = [kind for kind in FieldType if kind.is_whole]


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("order", list(Endianness))
def test_whole_numbers_at_their_limits(kind, order):
    bits = kind.size * 8
    assert kind.value.endswith(str(bits))
    signed = not kind.startswith("u")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    layout = Layout(kind, 1, endianness=order)
    for value in (low, high, 1):
        data = encode_field(value, layout, b"ab" + bytes(8))
        assert data[:1] == b"a"
        assert decode_field(data, layout) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConversionError, match="does not fit"):
            encode_field(value, Layout(kind))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (0x0072, 114.0),
        (0xF16D, 36.5),
        (0xFFFF, -0.1),
        (0x0FFF, -1.0),
        (0x1001, 10.0),
        (0x0001, 1.0),
        (0x07FD, 2045.0),
    ],
)
def test_sfloat(raw, value):
    """36.5 in IEEE 11073 is mantissa 365 and exponent -1."""
    data = raw.to_bytes(2, "little")
    assert decode_field(data, Layout(FieldType.SFLOAT)) == value
    written = encode_field(value, Layout(FieldType.SFLOAT))
    assert decode_field(written, Layout(FieldType.SFLOAT)) == value


@pytest.mark.parametrize(("raw", "value"), [(0xFF00016C, 36.4), (0xFEFFFFFF, -0.01)])
def test_float(raw, value):
    assert decode_field(raw.to_bytes(4, "little"), Layout(FieldType.FLOAT)) == value
    written = encode_field(value, Layout(FieldType.FLOAT))
    assert decode_field(written, Layout(FieldType.FLOAT)) == value


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        (0x07FE, FieldType.SFLOAT, r"\+infinity"),
        (0x07FF, FieldType.SFLOAT, "not a number"),
        (0x0800, FieldType.SFLOAT, "not at this resolution"),
        (0x0802, FieldType.SFLOAT, "-infinity"),
        (0x007FFFFF, FieldType.FLOAT, "not a number"),
        (0x00800002, FieldType.FLOAT, "-infinity"),
    ],
)
def test_what_medical_floats_say_instead_of_a_number(raw, kind, said):
    with pytest.raises(ConversionError, match=said):
        decode_field(raw.to_bytes(kind.size, "little"), Layout(kind))


@given(st.integers(-2045, 2045), st.integers(-8, 7))
def test_every_sfloat_comes_back(mantissa, exponent):
    value = mantissa * 10.0**exponent if exponent >= 0 else mantissa / 10.0**-exponent
    data = encode_field(value, Layout(FieldType.SFLOAT))
    assert math.isclose(float(decode_field(data, Layout(FieldType.SFLOAT))), value, rel_tol=1e-12)


def test_an_sfloat_that_is_too_large():
    with pytest.raises(ConversionError, match="does not fit"):
        encode_field(1e12, Layout(FieldType.SFLOAT))


@given(st.binary(max_size=12), st.sampled_from(FieldType), st.integers(0, 4))
def test_no_bytes_break_the_decoder(data, kind, offset):
    try:
        value = decode_field(data, Layout(kind, offset))
    except ConversionError:
        return
    assert isinstance(value, (int, float, str, bytes))


def test_bits():
    layout = Layout(FieldType.UINT16, 0, bit=4, bits=3)
    assert decode_field(b"\x50\x00", layout) == 5
    assert encode_field(2, layout, b"\x5f\xff") == b"\x2f\xff"
    assert decode_field(b"\x10", Layout(FieldType.BOOL, bit=4)) is True
    for value in (8, -1, 0.5):
        with pytest.raises(ConversionError, match="3 bits"):
            encode_field(value, layout, b"\0\0")


def test_text_and_bytes():
    text = Layout(FieldType.STRING, length=4)
    assert decode_field(b"ab\0c", text) == "ab"
    assert encode_field("ab", text) == b"ab\0\0"
    assert encode_field(b"ab", Layout(FieldType.BYTES)) == b"ab"
    with pytest.raises(ConversionError, match="5 bytes do not fit 4"):
        encode_field("abcde", text)
    with pytest.raises(ConversionError, match="neither text nor bytes"):
        encode_field(1, text)


def test_floats_and_booleans():
    for kind in (FieldType.FLOAT32, FieldType.FLOAT64):
        for order in Endianness:
            layout = Layout(kind, endianness=order)
            assert decode_field(encode_field(1.5, layout), layout) == 1.5
    assert encode_field(True, Layout(FieldType.BOOL)) == b"\1"
    assert encode_field(2.4999, Layout(FieldType.UINT8)) == b"\2"
    for value in ("x", float("nan")):
        with pytest.raises(ConversionError, match="not a number"):
            encode_field(value, Layout(FieldType.UINT8))
    with pytest.raises(ConversionError, match="does not fit"):
        encode_field(1e300, Layout(FieldType.FLOAT32))


def test_too_short():
    with pytest.raises(ConversionError, match="uint32 at byte 2 needs 4 bytes; there are 1"):
        decode_field(b"abc", Layout(FieldType.UINT32, 2))


# -------------------------------------------------- standard characteristics ----


def standard(name, data, field=""):
    return decode_standard(BY_NAME[name], bytes.fromhex(data), field)


@pytest.mark.parametrize(
    ("name", "data", "field", "value"),
    [
        ("battery_level", "58", "", 88),
        ("temperature", "C409", "", 25.0),
        ("temperature", "00FF", "", -2.56),
        ("humidity", "D411", "", 45.64),
        ("pressure", "9F740F00", "", 101289.5),
        ("manufacturer_name", "444D4900", "", "DMI"),
        ("heart_rate_measurement", "0048", "", 72),
        ("heart_rate_measurement", "1F4801 0500 0004", "heart_rate", 328),
        ("heart_rate_measurement", "1F4801 0500 0004", "energy", 5),
        ("heart_rate_measurement", "1F4801 0500 0004", "rr_interval", 1.0),
        ("heart_rate_measurement", "1E4805000004", "contact", True),
        ("temperature_measurement", "006C0100FF", "", 36.4),
        ("temperature_measurement", "01DA0300FF", "", 37.0),
        ("temperature_measurement", "066C0100FF EA070B150D1E0F 02", "time", "2026-11-21T13:30:15"),
        ("temperature_measurement", "066C0100FF EA070B150D1E0F 02", "type", 2),
        ("blood_pressure_measurement", "0078005000600000", "systolic", 120.0),
        ("blood_pressure_measurement", "04780050006000 4800", "pulse", 72.0),
        ("blood_pressure_measurement", "0110000A000C00", "diastolic", 75.01),
        ("weight_measurement", "00983A", "", 75.0),
        ("weight_measurement", "01983A", "", 68.039),
        ("weight_measurement", "02983AEA070B150D1E0F", "time", "2026-11-21T13:30:15"),
        ("current_time", "EA070B150D1E0F060000", "", "2026-11-21T13:30:15"),
        ("pnp_id", "01D200341200 01", "", "00d2:1234"),
        ("pnp_id", "01D20034120001", "version", 0x100),
    ],
)
def test_standard_characteristics(name, data, field, value):
    assert standard(name, data, field) == value


@pytest.mark.parametrize(
    ("name", "data", "field"),
    [
        ("battery_level", "", ""),
        ("heart_rate_measurement", "", ""),
        ("heart_rate_measurement", "0048", "energy"),
        ("temperature_measurement", "026C0100FFEA", ""),
    ],
)
def test_standard_characteristics_that_are_cut(name, data, field):
    with pytest.raises(ConversionError):
        standard(name, data, field)


def test_standard_characteristics_are_written_as_they_are_defined():
    assert len(BY_UUID) == len(BY_NAME)
    temperature = BleVisit.model_validate({"characteristic": "temperature"})
    assert encode(temperature, 25.5, b"") == struct.pack("<h", 2550)
    name = BleVisit.model_validate({"characteristic": "device_name"})
    assert encode(name, "x", b"") == b"x"
    system = BleVisit.model_validate({"characteristic": "system_id"})
    assert encode(system, "x", b"") == b"x"
    with pytest.raises(UnsupportedError, match="has parts"):
        encode(BleVisit.model_validate({"characteristic": "2a37"}), 1, b"")
