import pytest
from pydantic import ValidationError

from dmi.wording import fault_of
from mappers.modbus.config import ByteOrder, ModbusLink, Parity, Transport


def link(**settings):
    return ModbusLink.model_validate(settings)


def test_network_device_in_our_words():
    device = link(host="plc", unit=7)
    assert (device.carrier, device.tcp_port, device.unit) == (Transport.TCP, 502, 7)
    assert device.endpoint == "tcp://plc:502"


def test_tls_has_its_own_port():
    assert link(host="plc", transport="tls").endpoint == "tls://plc:802"


def test_ipv6_address_is_bracketed():
    assert link(host="::1").endpoint == "tcp://[::1]:502"


def test_kubeedge_serial_sample():
    device = link(slaveID=1, serialPort="1", baudRate=115200, dataBits=8, parity="even", stopBits=1)
    assert (device.carrier, device.endpoint, device.unit) == (Transport.RTU, "serial:1", 1)
    assert (device.baud_rate, device.data_bits, device.stop_bits) == (115200, 8, 1)
    assert device.parity is Parity.EVEN


def test_kubeedge_tcp_sample():
    assert link(ip="172.17.0.3", port=1502).endpoint == "tcp://172.17.0.3:1502"


def test_v1alpha2_settings_of_others_mean_nothing_here():
    device = link(
        ip="plc",
        slaveID=3,
        commType="tcp",
        collectTimeout=5,
        reconnRetryTimes=3,
        collectType="sync",
    )
    assert (device.carrier, device.unit) == (Transport.TCP, 3)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("TCP", Transport.TCP),
        ("com", Transport.RTU),
        ("Serial", Transport.RTU),
        ("RTU_over_TCP", Transport.RTU_OVER_TCP),
        ("ascii", Transport.ASCII),
    ],
)
def test_transport_in_any_spelling(written, meant):
    assert link(host="plc", serialPort="/dev/ttyS0", commType=written).carrier is meant


def test_keys_in_any_case_and_numbers_as_text():
    device = link(HOST="plc", Slave_ID="12", Port="0x1F6", TIMEOUT="0.5", write_multiple="true")
    assert (device.unit, device.port, device.timeout, device.write_multiple) == (12, 502, 0.5, True)


@pytest.mark.parametrize("written", ["CDAB", "cdab", "GHEFCDAB"])
def test_byte_order_with_four_or_eight_letters(written):
    assert link(host="plc", byteOrder=written).byte_order is ByteOrder.CDAB


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "set `host`"),
        ({"transport": "rtu"}, "needs `serialPort`"),
        ({"ip": "a", "host": "b"}, "'ip' and 'host' are one setting"),
        ({"serialPort": "/dev/ttyS0", "unit": 0}, "1 to 247 on a serial line"),
        ({"serialPort": "/dev/ttyS0", "dataBits": 7}, "must be 8 for RTU"),
        ({"host": "plc", "keyFile": "k"}, "without certFile"),
        ({"host": "plc", "unit": 256}, "less than or equal to 255"),
        ({"host": "plc", "timeout": 1000}, "less than or equal to 60"),
        ({"host": "plc", "maxReadRegisters": 126}, "less than or equal to 125"),
        ({"host": "plc", "parity": "mark"}, "'none', 'even' or 'odd'"),
        ({"host": "plc", "byteOrder": "ACBD"}, "'ABCD'"),
        ({"host": "plc", "port": "five"}, "valid integer"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(ValidationError, match=words):
        link(**settings)


def test_same_setting_twice_with_one_meaning_is_fine():
    assert link(ip="plc", host="plc").host == "plc"


def test_unknown_key_is_named_with_what_was_meant():
    with pytest.raises(ValidationError) as refused:
        link(host="plc", baudrat=9600)
    fault = fault_of(refused.value.errors()[0], ModbusLink)
    assert fault.path == ("baudrat",)
    assert "baudRate" in fault.hint


def test_what_is_no_mapping_is_refused():
    with pytest.raises(ValidationError):
        ModbusLink.model_validate(["host"])
