"""What a device has said, without a radio."""

import struct

import pytest

from dmi.errors import AccessDeniedError, NotFoundError, UnavailableError
from dmi.readings import Quality, Reading
from mappers.ble.advertisements import Identity, Tracker
from mappers.ble.config import BleLink
from mappers.ble.formats import Packet, full_uuid
from mappers.ble.simulation.adverts import bthome_encrypted
from mappers.ble.visit import BleVisit

ADDRESS = "A4:C1:38:00:00:01"
BTHOME = full_uuid("fcd2")


def tracker(**settings):
    given = {"address": ADDRESS, "kind": "advertisement", **settings}
    return Tracker(BleLink.model_validate({k: v for k, v in given.items() if v is not None}))


def packet(hexadecimal, time=0.0, uuid=BTHOME, **more):
    given = {"address": ADDRESS, "rssi": -60, "name": "room-1", **more}
    return Packet(service_data={uuid: bytes.fromhex(hexadecimal)}, time=time, **given)


def field(name, **more):
    return BleVisit.model_validate({"field": name, **more})


TEMPERATURE = field("temperature")


def test_numbered_packets_count_once_and_keep_their_values_fresh():
    device = tracker(freshness=10)
    assert device.hear(packet("40000702CA09", 0))
    assert not device.hear(packet("40000702CA09", 8))
    assert device.answer(TEMPERATURE, 17) == Reading(25.06, 0)
    assert device.answer(TEMPERATURE, 19) == Reading(25.06, 0, Quality.UNCERTAIN, "stale")
    assert device.hear(packet("40000802CB09", 20))
    assert device.answer(TEMPERATURE, 20) == Reading(25.07, 20)
    assert device.hear(packet("40000702CA09", 40))  # after so long it is another seven
    assert device.counters == {"new": 3, "duplicate": 1, "unreadable": 0, "replayed": 0}


def test_packets_without_number_count_again_after_the_window():
    device = tracker(duplicateWindow=1)
    heard = [device.hear(packet("4002CA09", time)) for time in (0, 0.5, 0.9, 1.5, 1.6)]
    assert heard == [True, False, False, True, False]
    assert device.hear(packet("4002CB09", 1.7))


def test_devices_that_send_several_kinds_in_turn():
    device = tracker()
    packets = [packet("40000102CA09"), packet("40000203BF13"), packet("40000102CA09")]
    assert [device.hear(one) for one in packets] == [True, True, False]
    assert device.answer(field("humidity"), 1) == Reading(50.55, 0)
    assert device.answer(TEMPERATURE, 1) == Reading(25.06, 0)


def test_only_what_a_packet_says_is_updated():
    device = tracker()
    humidity = field("humidity")
    own = BleVisit.model_validate({"serviceData": "fcd2", "type": "uint8"})
    other = BleVisit.model_validate({"manufacturer": 1, "type": "uint8"})
    link = BleVisit.model_validate({"characteristic": "2a19"})
    visits = [TEMPERATURE, humidity, field("rssi"), own, other, link]
    assert not any(device.updated(visit) for visit in visits)
    device.hear(packet("4002CA09"))
    assert [device.updated(v) for v in visits] == [True, False, True, True, False, False]


def test_a_property_may_have_its_own_freshness():
    device = tracker(freshness=10)
    device.hear(packet("4002CA090161"))
    slow = field("battery", freshness=1000)
    assert device.answer(slow, 100).quality is Quality.GOOD
    assert device.answer(TEMPERATURE, 100).reason == "stale"
    assert isinstance(device.answer(slow, 301), UnavailableError)


def test_what_is_always_there():
    device = tracker()
    assert isinstance(device.answer(field("rssi"), 0), UnavailableError)
    device.hear(packet("4002CA09", 5.0, tx_power=4))
    values = [device.answer(field(n), 6).value for n in ("rssi", "name", "address", "tx_power")]
    assert values == [-60, "room-1", ADDRESS, 4]
    assert device.answer(field("last_heard"), 6).value == 5.0
    device.hear(packet("4002CB09", 7.0, name=""))
    answers = [device.answer(field(n), 8) for n in ("name", "tx_power")]
    assert [type(answer) for answer in answers] == [NotFoundError, NotFoundError]


def test_packets_that_cannot_be_read():
    device = tracker(format="bthome")
    device.hear(packet("4002CA09", 0))
    assert device.hear(packet("4002", 1))
    assert not device.hear(packet("4002", 1.1))
    assert device.counters["unreadable"] == 2
    assert device.answer(TEMPERATURE, 2).value == 25.06  # it still holds
    assert device.answer(field("humidity"), 2).reason == "conversion"
    device.hear(packet("4102CA0900112233445566778899", 3))
    assert device.answer(TEMPERATURE, 4).value == 25.06  # anybody could have sent that
    assert isinstance(device.answer(TEMPERATURE, 61), AccessDeniedError)
    assert device.answer(field("rssi"), 4).value == -60
    device.hear(packet("4002CB09", 5))
    assert device.answer(TEMPERATURE, 6).value == 25.07


def test_what_somebody_sends_again_is_not_believed(monkeypatch):
    monkeypatch.setenv("BLE_KEY", "231d39c1d7cc1ab1aee224cd096db932")
    device = tracker(bindKey="env:BLE_KEY", lostAfter=100, freshness=50)

    def hear(count, celsius, time):
        objects = struct.pack("<Bh", 2, celsius)
        data = bthome_encrypted(
            objects, key=device.identity.bind_key, address=ADDRESS, counter=count
        )
        # The length and type of the structure, and its UUID, come before the service data.
        return device.hear(packet(data[data.index(b"\xd2\xfc") + 2 :].hex(), time))

    assert hear(7, 2000, 0)
    assert hear(8, 2100, 1)
    assert not hear(7, 2000, 2)
    assert device.counters["replayed"] == 1
    assert device.answer(TEMPERATURE, 3) == Reading(21.0, 1)
    assert not hear(1, 2200, 100)  # it was restarted, or somebody wants us to think so
    assert hear(2, 2200, 102)
    assert device.answer(TEMPERATURE, 103) == Reading(22.0, 102)


def test_packets_of_another_format_say_nothing():
    device = tracker(format="ruuvi")
    assert device.hear(packet("4002CA09"))
    assert isinstance(device.answer(TEMPERATURE, 0), NotFoundError)


@pytest.mark.parametrize(
    ("settings", "owned"),
    [
        ({}, True),
        ({"address": "A4:C1:38:00:00:02"}, False),
        ({"address": None, "name": "room-*"}, True),
        ({"address": None, "name": "room"}, False),
        ({"address": None, "content": "temperature=25.06"}, True),
        ({"address": None, "content": "temperature=25.07"}, False),
        ({"address": None, "content": "major=1"}, False),
        ({"address": None, "content": "temperature=25.06", "format": "ruuvi"}, False),
        ({"name": "kitchen"}, False),
    ],
)
def test_who_sent_a_packet(settings, owned):
    assert tracker(**settings).identity.owns(packet("4002CA09")) is owned


def test_who_says_what_it_is_in_one_packet_of_several():
    google = full_uuid("feaa")
    identity = tracker(address=None, content="instance=aabbccddeeff").identity
    uid = packet("00C500112233445566778899AABBCCDDEEFF0000", uuid=google)
    other = packet("00C500112233445566778899AABBCCDDEE000000", uuid=google)
    telemetry = packet("20000B9A198000000100000003E8", uuid=google)
    strange = packet("20000B9A198000000100000003E8", uuid=google, address="A4:C1:38:00:00:09")
    owned = [identity.owns(one) for one in (telemetry, uid, telemetry, strange, other)]
    assert owned == [False, True, True, False, False]


def test_garbled_content_is_nobodys():
    assert not tracker(address=None, content="temperature=1").identity.owns(packet("4002"))


def test_a_device_that_changes_its_address_is_known_by_its_key(monkeypatch):
    """The addresses are those of the Core Specification's sample data, and one of another."""
    monkeypatch.setenv("IRK", "ec0234a357c8ad05341010a60a397d9b")
    link = BleLink.model_validate({"identityKey": "env:IRK", "kind": "advertisement"})
    identity = Identity(link)
    assert identity.address is None
    assert identity.owns(packet("4002CA09", address="70:81:94:0D:FB:AA"))
    assert not identity.owns(packet("4002CA09", address="70:81:94:0D:FB:AB"))
    assert not identity.owns(packet("4002CA09", address="platform-id"))
