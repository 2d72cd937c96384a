"""The formats, on packets that their makers or other projects publish."""

import pytest

from dmi.errors import AccessDeniedError, ConversionError
from mappers.ble.formats import FORMATS, Packet, full_uuid, recognise
from mappers.ble.formats.sealed import resolves

BTHOME, XIAOMI, THERMOMETER, GOOGLE = (
    full_uuid(short) for short in ("fcd2", "fe95", "181a", "feaa")
)
APPLE, RUUVI = 0x004C, 0x0499


def decode(packet, key=None):
    kind = recognise(packet)
    assert kind is not None
    return kind.decode(packet, bytes.fromhex(key) if key else None)


def service(uuid, hexadecimal, address="A4:C1:38:00:00:01", **more):
    return Packet(address, service_data={uuid: bytes.fromhex(hexadecimal)}, **more)


def maker(company, hexadecimal, **more):
    data = {company: bytes.fromhex(hexadecimal)}
    return Packet("CB:B8:33:4C:88:4F", manufacturer_data=data, **more)


# ------------------------------------------------------------------- BTHome ----

BTHOME_KEY = "231d39c1d7cc1ab1aee224cd096db932"
BTHOME_SEALED = service(BTHOME, "41a47266c95f730011223378237214", "54:48:E6:8F:80:A5")
"""Key and packet from bthome.io/encryption."""


def test_bthome_open():
    decoded = decode(service(BTHOME, "4002CA0903BF13"))
    assert decoded.fields == {"temperature": 25.06, "humidity": 50.55}
    assert decoded.packet_id is None


def test_bthome_encrypted():
    decoded = decode(BTHOME_SEALED, BTHOME_KEY)
    assert decoded.fields == {"temperature": 25.06, "humidity": 50.55}
    assert decoded.packet_id == decoded.counter == 0x33221100


@pytest.mark.parametrize(("key", "said"), [(None, "set `bindKey`"), ("00" * 16, "does not open")])
def test_bthome_encrypted_without_the_right_key(key, said):
    with pytest.raises(AccessDeniedError, match=said):
        decode(BTHOME_SEALED, key)


def test_an_open_packet_is_not_believed_where_a_key_is_set():
    with pytest.raises(ConversionError, match="not encrypted"):
        decode(service(BTHOME, "4002CA09"), BTHOME_KEY)


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ("0161", {"battery": 97}),
        ("02CA0902CB09", {"temperature": 25.06, "temperature_2": 25.07}),
        ("0413 8A01", {"pressure": 1008.83}),
        ("0A138A14", {"energy": 1346.067}),
        ("4606", {"uv_index": 0.6}),
        ("58EA", {"temperature": -7.7}),
        ("5D02EA", {"current": -5.63}),
        ("2001", {"moisture_detected": True}),
        ("1A00", {"door": False}),
        ("3A01", {"button": "press"}),
        ("3A003A80", {"button": "none", "button_2": "hold_press"}),
        ("3A7F", {"button": "0x7f"}),
        ("3A81", {"button": "hold_release"}),
        ("3B0002", {"command": "toggle"}),
        ("3BE203050A", {"command": "step_up", "command_arguments": b"\x05\x0a"}),
        ("3B007F", {"command": "0x7f"}),
        ("61AC0D", {"rotational_speed": 3500}),
        ("628A9A0000", {"speed": 0.039562}),
        ("637665FFFF", {"acceleration": -0.039562}),
        ("6407", {"light_level": 7}),
        ("6503", {"settings_revision": 3}),
        ("3C0103", {"dimmer": -3}),
        ("3C0203", {"dimmer": 3}),
        ("3C0000", {"dimmer": 0}),
        ("530C48656C6C6F20576F726C6421", {"text": "Hello World!"}),
        ("540348656C", {"raw": b"Hel"}),
        ("F101020304F2010002", {"firmware": "4.3.2.1", "firmware_2": "2.0.1"}),
        ("0161FE0102", {"battery": 97}),  # what follows an unknown object cannot be read
    ],
)
def test_bthome_objects(payload, fields):
    assert decode(service(BTHOME, "44" + payload)).fields == fields


def test_bthome_says_the_number_of_the_packet():
    assert decode(service(BTHOME, "40000902CA09")).packet_id == 9


def test_bthome_may_carry_its_address():
    packet = service(BTHOME, "42" + "010000 38C1A4" + "0161", "00:00:00:00:00:00")
    assert decode(packet).fields == {"battery": 97}


@pytest.mark.parametrize("payload", ["4002CA", "400253", "4053055354", "403B0201", "4100112233"])
def test_bthome_cut(payload):
    with pytest.raises(ConversionError, match="cut"):
        decode(service(BTHOME, payload), BTHOME_KEY if payload[:2] == "41" else None)


def test_another_version_of_bthome_is_not_taken_for_this_one():
    assert recognise(service(BTHOME, "2002CA09")) is None


# -------------------------------------------------------------------- Ruuvi ----


def test_ruuvi_raw_v2():
    """Packet from docs.ruuvi.com, "valid data"."""
    decoded = decode(maker(RUUVI, "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F"))
    assert decoded.packet_id == 205
    assert decoded.fields == {
        "temperature": 24.3,
        "humidity": 53.49,
        "pressure": 1000.44,
        "acceleration_x": 0.004,
        "acceleration_y": -0.004,
        "acceleration_z": 1.036,
        "voltage": 2.977,
        "tx_power": 4,
        "movement": 66,
        "sequence": 205,
        "address": "CB:B8:33:4C:88:4F",
    }


def test_ruuvi_raw_v2_at_its_limits():
    """Packets from docs.ruuvi.com, "maximum", "minimum" and "invalid values"."""
    most = decode(maker(RUUVI, "057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F")).fields
    assert (most["temperature"], most["humidity"], most["pressure"]) == (163.835, 163.835, 1155.34)
    assert (most["acceleration_x"], most["voltage"], most["tx_power"]) == (32.767, 3.646, 20)
    least = decode(maker(RUUVI, "058001000000008001800180010000000000CBB8334C884F")).fields
    assert (least["temperature"], least["humidity"], least["pressure"]) == (-163.835, 0, 500)
    assert (least["acceleration_z"], least["voltage"], least["tx_power"]) == (-32.767, 1.6, -40)
    invalid = decode(maker(RUUVI, "058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF"))
    assert set(invalid.fields) == {"address"}
    assert invalid.packet_id is None


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        ("03291A1ECE1EFC18F94202CA0B53", (26.3, 20.5, 1027.66, -1.0, -1.726, 0.714, 2.899)),
        ("03FF7F63FFFF7FFF7FFF7FFFFFFF", (127.99, 127.5, 1155.35, 32.767, 32.767, 32.767, 65.535)),
        ("0300FF6300008001800180010000", (-127.99, 0, 500, -32.767, -32.767, -32.767, 0)),
    ],
)
def test_ruuvi_raw_v1(packet, expected):
    """Packets from docs.ruuvi.com."""
    fields = decode(maker(RUUVI, packet)).fields
    names = ("temperature", "humidity", "pressure")
    names += ("acceleration_x", "acceleration_y", "acceleration_z", "voltage")
    assert tuple(fields[name] for name in names) == expected


def test_ruuvi_cut():
    with pytest.raises(ConversionError, match="24 bytes, not 3"):
        decode(maker(RUUVI, "050102"))


# ------------------------------------------------------------------ MiBeacon ----


def test_mibeacon_open():
    """A LYWSDCGQ, as the tests of xiaomi-ble have it."""
    decoded = decode(service(XIAOMI, "5020AA01DA219335342D580D1004FE004802", "58:2D:34:35:93:21"))
    assert decoded.fields == {"temperature": 25.4, "humidity": 58.4}
    assert decoded.packet_id == 0xDA


MI_KEY = "a115210eed7a88e50ad52662e732a9fb"
MI_SEALED = service(XIAOMI, "5858E4162C84535638C1A42B6EF2E91200006C884D9E", "A4:C1:38:56:53:84")
"""A MHO-C401, as the tests of xiaomi-ble have it."""


def test_mibeacon_encrypted():
    assert decode(MI_SEALED, MI_KEY).fields == {"humidity": 58.0}
    with pytest.raises(AccessDeniedError, match="set `bindKey`"):
        decode(MI_SEALED)
    with pytest.raises(AccessDeniedError, match="does not open"):
        decode(MI_SEALED, BTHOME_KEY)


MI_OLD_KEY = "b853075158487ca39a5b5ea9"


@pytest.mark.parametrize(
    ("packet", "fields"),
    [
        ("5830B603D28B98C54124F8C3491476757E00000099", {"button": "0x03", "button_id": 0x0100}),
        ("5830B603368B98C54124F88BB8F2661351000000D6", {"button": "0x04", "button_id": 0xFF00}),
    ],
)
def test_mibeacon_encrypted_by_version_3(packet, fields):
    """A YLKG07YL that is pressed and turned, as the tests of ble_monitor and xiaomi-ble have it."""
    heard = service(XIAOMI, packet, "F8:24:41:C5:98:8B")
    assert decode(heard, MI_OLD_KEY).fields == fields
    with pytest.raises(AccessDeniedError, match="set `bindKey`"):
        decode(heard)
    for wrong in ("b853075158487aa39a5b5ea9", MI_KEY):
        with pytest.raises(AccessDeniedError, match="does not open"):
            decode(heard, wrong)


def test_a_short_key_opens_nothing_new():
    with pytest.raises(AccessDeniedError, match="32 digits"):
        decode(MI_SEALED, MI_OLD_KEY)


@pytest.mark.parametrize(
    ("objects", "fields"),
    [
        ("04100200FF", {"temperature": -25.6}),
        ("0510020121", {"power_on": True, "temperature": 33}),
        ("0A10015D", {"battery": 93}),
        ("07100310000019100101", {"illuminance": 16, "opening": False}),
        ("1910010003000100", {"opening": True, "motion": True}),
        ("014C040000C841", {"temperature": 25.0}),
        ("011003000000", {"button": "press", "button_id": 0}),
        ("011003020102", {"button": "long_press", "button_id": 0x0102}),
        ("0110020100", {"object_1001": b"\x01\x00"}),
        ("04100101", {"object_1004": b"\x01"}),
    ],
)
def test_mibeacon_objects(objects, fields):
    assert decode(service(XIAOMI, "4030AA0107" + objects)).fields == fields


def test_mibeacon_with_all_that_may_come_before_the_objects():
    packet = service(XIAOMI, "7050AA0107" + "0100 0038C1A4" + "20" + "01" + "0A10015D")
    assert decode(packet).fields == {"battery": 93}


def test_mibeacon_without_values():
    assert decode(service(XIAOMI, "3030AA0107" + "010000 38C1A4" + "08")) is None


@pytest.mark.parametrize(
    ("packet", "key", "error"),
    [
        ("4030AA01070A1002 5D", None, ConversionError),
        ("4050AA01070A10015D", MI_KEY, ConversionError),
        ("4850AA01070A1001", MI_KEY, ConversionError),
        ("5050AA01070A1001", None, ConversionError),
        ("4830AA0107", MI_KEY, ConversionError),
    ],
)
def test_mibeacon_that_cannot_be_read(packet, key, error):
    with pytest.raises(error):
        decode(service(XIAOMI, packet), key)


# ----------------------------------------------------------------- ATC, PVVX ----


def test_atc_open():
    decoded = decode(service(THERMOMETER, "A4C13800000100EB 2E 5D 0B9A 07"))
    assert decoded.fields == {
        "temperature": 23.5,
        "humidity": 46,
        "battery": 93,
        "voltage": 2.97,
    }
    assert decoded.packet_id == 7


def test_pvvx_open():
    decoded = decode(service(THERMOMETER, "01000038C1A4 2A09 6C12 9A0B 5D 08 02"))
    assert decoded.fields == {
        "temperature": 23.46,
        "humidity": 47.16,
        "battery": 93,
        "voltage": 2.97,
        "reed": False,
        "trigger": True,
    }


def test_a_thermometer_that_speaks_of_another_is_not_recognised():
    assert recognise(service(THERMOMETER, "A4C13800000200EB2E5D0B9A07")) is None
    with pytest.raises(ConversionError, match="no ATC"):
        FORMATS["atc"].decode(service(THERMOMETER, "0102"), None)


# ------------------------------------------------------------------- beacons ----

UUID = "426c7565436861726d426561636f6e73"


def test_ibeacon():
    decoded = decode(maker(APPLE, f"0215{UUID}0EFE1355C5", rssi=-79))
    assert decoded.fields == {
        "uuid": "426c7565-4368-6172-6d42-6561636f6e73",
        "major": 3838,
        "minor": 4949,
        "power": -59,
        "distance": 10.0,
    }
    assert "distance" not in decode(maker(APPLE, f"0215{UUID}0EFE1355C5")).fields


def test_ibeacon_cut_and_what_else_apple_sends():
    with pytest.raises(ConversionError, match="23 bytes, not 18"):
        decode(maker(APPLE, f"0215{UUID}"))
    assert recognise(maker(APPLE, "10054b1c")) is None


@pytest.mark.parametrize(
    ("frame", "fields"),
    [
        (
            "00C5" + "00112233445566778899" + "AABBCCDDEEFF" + "0000",
            {"power": -59, "namespace": "00112233445566778899", "instance": "aabbccddeeff"},
        ),
        ("10EB03676F6F676C6507", {"power": -21, "url": "https://google.com"}),
        ("10EB006B756265656467650841", {"power": -21, "url": "http://www.kubeedge.orgA"}),
        ("10EB0361002E", {"power": -21, "url": "https://a.com/."}),
        ("30C50102030405060708", {"power": -59, "ephemeral_id": "0102030405060708"}),
        (
            "20000B9A198000000100000003E8",
            {"voltage": 2.97, "count": 256, "uptime": 100.0, "temperature": 25.5},
        ),
        ("20000B9A8000000001000000 03E8", {"voltage": 2.97, "count": 256, "uptime": 100.0}),
    ],
)
def test_eddystone(frame, fields):
    assert decode(service(GOOGLE, frame)).fields == fields


@pytest.mark.parametrize(
    ("frame", "fields"),
    [
        (
            "00E3123456789012346789010000000000010000",
            {"power": -29, "namespace": "12345678901234678901", "instance": "000000000001"},
        ),
        ("10F803676974687562006369747275 7A", {"url": "https://github.com/citruz"}),
        (
            "20000B18130000001467 00002AC4",
            {"voltage": 2.84, "temperature": 19.0, "count": 5223, "uptime": 1094.8},
        ),
    ],
)
def test_eddystone_of_others(frame, fields):
    """Packets from the examples of beacontools."""
    found = decode(service(GOOGLE, frame)).fields
    assert {name: found[name] for name in fields} == fields


def test_ibeacon_of_others():
    """A packet from the examples of beacontools."""
    fields = decode(maker(APPLE, "0215" + "41" * 16 + "00010001F8")).fields
    assert fields == {
        "uuid": "41414141-4141-4141-4141-414141414141",
        "major": 1,
        "minor": 1,
        "power": -8,
    }


@pytest.mark.parametrize("frame", ["00C500", "10EB", "10EB0961", "10EB03617F", "2001" + "00" * 12])
def test_eddystone_that_cannot_be_read(frame):
    with pytest.raises(ConversionError):
        decode(service(GOOGLE, frame))


# ------------------------------------------------------------------ identity ----


def test_private_addresses_are_resolved():
    """Sample data of the Core Specification, Vol 3, Part H, appendix D.7."""
    key = bytes.fromhex("ec0234a357c8ad05341010a60a397d9b")
    assert resolves(key, bytes.fromhex("7081940dfbaa"))
    assert not resolves(key, bytes.fromhex("7081940dfbab"))
    assert not resolves(key, bytes.fromhex("F081940dfbaa"))  # a static address


def test_nothing_is_read_into_what_is_of_no_format():
    assert recognise(Packet("A4:C1:38:00:00:01", name="x")) is None
    assert Packet("6B1B0B5F-AB12").address_bytes == bytes(6)


@pytest.mark.parametrize("word", ["fcd2", "0xFCD2", " 0000FCD2", BTHOME.upper()])
def test_uuids_in_every_spelling(word):
    assert full_uuid(word) == BTHOME
