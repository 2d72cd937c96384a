import pytest
from pydantic import ValidationError

from dmi.errors import ConfigError, ConversionError
from mappers.ble.config import BleLink, Kind
from mappers.ble.links.exchange import decode, encode
from mappers.ble.secrets import read_key, read_passkey
from mappers.ble.visit import BleVisit, Source

HERE = {"address": "a4-c1-38-00-00-01"}


def link(**settings):
    return BleLink.model_validate(settings)


def visit(declared="int", **settings):
    return BleVisit.model_validate(settings, context={"type": declared})


def test_addresses_come_in_one_spelling():
    assert link(**HERE).address == "A4:C1:38:00:00:01"
    assert link(macAddress="A4:C1:38:00:00:01").address == "A4:C1:38:00:00:01"


@pytest.mark.parametrize(
    ("settings", "connects"),
    [
        ({}, True),
        ({"format": "BTHome"}, False),
        ({"format": "xiaomi"}, False),
        ({"bindKey": "env:KEY"}, False),
        ({"kind": "advertisement"}, False),
        ({"kind": "GATT", "format": "bthome"}, True),
    ],
)
def test_the_kind_follows_from_the_rest(settings, connects):
    assert link(**HERE, **settings).connects is connects


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "set one of"),
        ({"address": "A4:C1:38:00:00:0G"}, "no address"),
        ({**HERE, "bindKey": "231d39c1d7cc1ab1aee224cd096db932"}, "never the secret itself"),
        ({"content": "uuid"}, "field=value"),
        ({"content": "major=1", "kind": "gatt"}, "identifies advertisements"),
        ({**HERE, "passkey": "env:PIN"}, "mean nothing without pair"),
        ({**HERE, "confirmNumbers": True}, "mean nothing without pair"),
        ({**HERE, "pair": True, "passkey": "env:PIN", "confirmNumbers": True}, "not both"),
        ({**HERE, "radio": "hci-zero"}, "is no radio: write an adapter such as hci0"),
        ({**HERE, "radio": "usb:"}, "is no radio"),
        ({**HERE, "slots": 0}, "greater than or equal to 1"),
        ({**HERE, "mac": "A4:C1:38:00:00:02"}, "are one setting"),
        ({**HERE, "adress": "x"}, "Extra inputs"),
        ({**HERE, "format": "morse"}, "Input should be"),
    ],
)
def test_mistakes_are_told(settings, said):
    with pytest.raises(ValidationError, match=said):
        link(**settings)


def test_a_wrong_secret_is_never_repeated():
    with pytest.raises(ValidationError) as told:
        link(**HERE, passkey="env:", pair=True)
    assert told.value.error_count() == 1


def test_content_and_names_of_devices():
    assert link(content="UUID = AB, major=1").wanted_content == {"uuid": "ab", "major": "1"}
    assert link(name="room*").who == "'room*'"
    assert link(content="major=1").who == "major=1"
    assert "identity key" in link(identityKey="env:K").who
    assert link(irk="env:K", adapter="hci1").radio == "hci1"
    assert link(**HERE).kind is None
    assert link(**HERE, kind="beacon").kind is Kind.ADVERTISEMENT


def test_keys_are_looked_up(monkeypatch, tmp_path):
    monkeypatch.setenv("BLE_KEY", "00" * 16)
    assert read_key("env:BLE_KEY") == bytes(16)
    assert read_key(None) is None
    file = tmp_path / "key"
    file.write_text("12" * 16 + "\n")
    assert read_key(f"file:{file}") == b"\x12" * 16
    file.write_text("123456\n")
    assert read_passkey(f"file:{file}") == 123456


@pytest.mark.parametrize("content", ["12", "x" * 32, ""])
def test_keys_of_another_form_are_refused(tmp_path, content):
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(ConfigError, match="32 hexadecimal digits"):
        read_key(f"file:{file}")
    with pytest.raises(ConfigError, match="six digits"):
        read_passkey(f"file:{file}")


def test_missing_keys_are_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key(f"file:{tmp_path / 'none'}")
    with pytest.raises(ConfigError, match="no environment variable"):
        read_key("env:BLE_NO_SUCH_KEY")


# ----------------------------------------------------------------- visits ----


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"field": "temperature"}, Source.FIELD),
        ({"manufacturer": "0x0499", "type": "uint16"}, Source.PAYLOAD),
        ({"serviceData": "FCD2", "type": "uint16"}, Source.PAYLOAD),
        ({"characteristic": "Battery Level"}, Source.CHARACTERISTIC),
    ],
)
def test_the_source_follows_from_the_settings(settings, source):
    assert visit(**settings).source is source


@pytest.mark.parametrize(
    ("declared", "settings", "said"),
    [
        ("int", {}, "set `field`"),
        ("int", {"characteristic": "2a19", "manufacturer": 1}, "only one of"),
        ("int", {"serviceData": "ff01"}, "say which `type`"),
        ("int", {"characteristic": "warmth"}, "neither a UUID nor the name"),
        ("int", {"characteristic": "ff01", "type": "float32", "bit": 1}, "whole number"),
        ("int", {"characteristic": "ff01", "type": "uint8", "bit": 6, "bits": 4}, "no 4 bits"),
        ("int", {"manufacturer": 1, "type": "uint8", "prefix": "0"}, "pattern"),
        ("string", {"characteristic": "ff01", "dataWrite": {"ON": 1}}, "list of bytes or text"),
        ("string", {"characteristic": "ff01", "dataWrite": {"ON": [300]}}, "range"),
        ("string", {"characteristic": "ff01", "dataWrite": {"ON": "???"}}, "(?i)base64|padding"),
        ("double", {"characteristic": "ff01", "dataConverter": "{"}, "no JSON"),
        (
            "double",
            {
                "characteristic": "ff01",
                "orderOfOperations": [{"operationType": "Divide", "operationValue": 0}],
            },
            "divide by 0",
        ),
    ],
)
def test_mistakes_of_properties_are_told(declared, settings, said):
    with pytest.raises(ValidationError, match=said):
        visit(declared, **settings)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("boolean", True), ("string", "A"), ("bytes", b"A\0\0\x80"), ("float", None)],
)
def test_the_declared_type_decides_where_none_is_written(declared, expected):
    found = decode(b"A\0\0\x80", visit(declared, characteristic="ff01"))
    assert found == expected if expected is not None else isinstance(found, float)


@pytest.mark.parametrize("written", [True, "with", "WITH"])
def test_yaml_words_for_modes(written):
    assert visit(characteristic="2a19", response=written).response == "with"
    assert visit(characteristic="2a19", notify=False).notify == "off"


def test_kubeedge_words_for_bytes():
    words = {"ON": [1.0], "OFF": "0x00", "HALF": "gA=="}
    switch = visit("string", characteristicUUID="ff01", dataWrite=words)
    assert [encode(switch, word, b"") for word in words] == [b"\1", b"\0", b"\x80"]
    assert decode(b"\1", switch) == "ON"
    assert decode(b"??", switch) == "??"


def test_kubeedge_converters():
    flat = visit("double", characteristic="ff01", startIndex=1, endIndex=0, shiftLeft="1")
    assert decode(b"\x34\x12", flat) == 0x2468
    text = '{"startIndex": 0, "endIndex": 1, "orderOfOperations": ['
    text += '{"operationType": "add", "operationValue": 1},'
    text += '{"operationType": "Subtract", "operationValue": 2},'
    text += '{"operationType": "Divide", "operationValue": 4}]}'
    nested = visit("double", characteristic="ff01", dataConverter=text)
    assert decode(b"\x00\x11", nested) == 4.0
    with pytest.raises(ConversionError, match="no bytes 0 to 1 in 1"):
        decode(b"\x00", nested)
