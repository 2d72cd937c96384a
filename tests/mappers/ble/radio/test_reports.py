"""Reports made by bumble's own encoder, and some that are broken."""

import pytest
from bumble import hci

from mappers.ble.radio.reports import Assembler, is_report

LEGACY = hci.HCI_LE_Advertising_Report_Event
EXTENDED = hci.HCI_LE_Extended_Advertising_Report_Event
ADDRESS = hci.Address("F0:00:00:00:00:01")
OTHER = hci.Address("00:11:22:33:44:55", hci.Address.PUBLIC_DEVICE_ADDRESS)
CONNECTABLE, SCANNABLE, RESPONSE, PDU, MORE = 1, 2, 8, 16, 32


def extended(kind, data, *, address=ADDRESS, rssi=-70):
    return EXTENDED.Report(
        event_type=kind,
        address_type=address.address_type,
        address=address,
        primary_phy=1,
        secondary_phy=0,
        advertising_sid=3,
        tx_power=5,
        rssi=rssi,
        periodic_advertising_interval=7,
        direct_address_type=0,
        direct_address=OTHER,
        data=data,
    )


def legacy(kind, data, *, address=ADDRESS, rssi=-70):
    return LEGACY.Report(
        event_type=kind, address_type=address.address_type, address=address, data=data, rssi=rssi
    )


def packet(*reports):
    event = LEGACY if isinstance(reports[0], LEGACY.Report) else EXTENDED
    return bytes(event(list(reports)))


def taken(assembler, *packets):
    return [heard for each in packets for heard in assembler.take(each)]


def test_only_reports_are_reports():
    assert is_report(packet(extended(PDU, b"")))
    assert is_report(packet(legacy(0, b"")))
    assert not is_report(bytes(hci.HCI_Disconnection_Complete_Event(0, 1, 2)))
    assert not is_report(bytes(hci.HCI_LE_Remote_Connection_Parameter_Request_Event(1, 2, 3, 4, 5)))
    assert not is_report(b"\x04\x3e\x00")
    assert not is_report(b"")


@pytest.mark.parametrize("make", [extended, legacy])
def test_several_in_one_packet(make):
    nothing = PDU if make is extended else 3
    first, second = taken(
        Assembler(),
        packet(make(nothing, b"abc"), make(nothing, b"", address=OTHER, rssi=-101)),
    )
    assert (first.address, first.rssi, first.data) == (ADDRESS, -70, b"abc")
    assert (second.address, second.rssi, second.data) == (OTHER, -101, b"")
    assert second.address.is_public
    assert not first.connectable


@pytest.mark.parametrize(
    ("heard", "answer"),
    [
        (extended(PDU | CONNECTABLE | SCANNABLE, b"a"), extended(PDU | SCANNABLE | RESPONSE, b"b")),
        (legacy(0, b"a"), legacy(4, b"b")),
    ],
)
def test_an_answer_belongs_to_what_was_asked(heard, answer):
    assembler = Assembler()
    assert [one.data for one in taken(assembler, packet(heard), packet(answer))] == [b"a"]
    assembler.active = True
    (one,) = taken(assembler, packet(heard), packet(answer))
    assert (one.data, one.connectable) == (b"ab", True)
    # Nobody answers: the second time it is not waited for.
    assert [one.data for one in taken(assembler, packet(heard), packet(heard))] == [b"a"]
    assert not taken(Assembler(), packet(answer))


def test_fragments_are_joined():
    assembler = Assembler()
    parts = [extended(MORE, b"a"), extended(MORE, b"b"), extended(0, b"c")]
    (one,) = taken(assembler, *(packet(part) for part in parts))
    assert one.data == b"abc"
    truncated = extended(MORE << 1, b"x")
    assert [one.data for one in taken(assembler, packet(truncated))] == [b"x"]


@pytest.mark.parametrize("whole", [packet(extended(PDU, b"abc")), packet(legacy(3, b"abc"))])
def test_a_cut_packet_is_no_bug(whole):
    for size in range(5, len(whole)):
        for one in Assembler().take(whole[:size]):
            assert b"abc".startswith(one.data)


def test_strange_kinds_and_addresses():
    assert not taken(Assembler(), packet(legacy(3, b"")).replace(b"\x02\x01\x03", b"\x02\x01\x77"))
    strange = bytearray(packet(extended(PDU, b"abc")))
    strange[7] = 0xFF
    (one,) = taken(Assembler(), bytes(strange))
    assert one.data == b"abc"


def test_addresses_that_rotate_do_not_fill_the_memory():
    assembler = Assembler()
    assembler.active = True
    for number in range(3000):
        address = hci.Address(number.to_bytes(6, "little"))
        taken(assembler, packet(extended(PDU | SCANNABLE, b"a", address=address)))
    latest = packet(extended(PDU | SCANNABLE | RESPONSE, b"b", address=address))
    assert [one.data for one in taken(assembler, latest)] == [b"ab"]
    first = extended(PDU | SCANNABLE | RESPONSE, b"b", address=hci.Address(bytes(6)))
    assert not taken(assembler, packet(first))
