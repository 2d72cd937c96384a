"""Settings of the MQTT sink, and what a Device's pushMethod makes of them."""

import pytest
from pydantic import ValidationError

from dmi.errors import UnsupportedError
from dmi.resources import PushHttp, PushMqtt
from mapper_sdk.sinks.mqtt.settings import MqttPlace, MqttTarget
from mapper_sdk.sinks.mqtt.sink import MqttSink


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("broker", "mqtt://broker:1883"),
        ("broker:1884", "mqtt://broker:1884"),
        ("tcp://127.0.0.1:1883", "mqtt://127.0.0.1:1883"),
        ("mqtt://Broker/", "mqtt://broker:1883"),
        ("ssl://h:1883", "mqtts://h:1883"),
        ("tls://h", "mqtts://h:8883"),
        ("[::1]:1883", "mqtt://[::1]:1883"),
        ("ws://h", "ws://h:80/mqtt"),
        ("wss://h/x", "wss://h:443/x"),
        ("unix:/run/m.sock", "unix:///run/m.sock"),
        ("unix:///run/m.sock", "unix:///run/m.sock"),
        ("/run/m.sock", "unix:///run/m.sock"),
    ],
)
def test_one_broker_has_one_spelling(written, canonical):
    found = MqttTarget(address=written)
    assert found.address == canonical
    assert MqttTarget(address=canonical) == found


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"address": ""}, "HOST:PORT"),
        ({"address": "http://h"}, "HOST:PORT"),
        ({"address": "unix:"}, "missing"),
        ({"address": "h:x"}, "[Pp]ort"),
        ({"address": "h:1883/x"}, "means nothing"),
        ({"address": "tcp://u:secret@h"}, "does not belong"),
        ({"address": "http://u:secret@h"}, "'h'"),
        ({"address": "h", "password": "env:X"}, "without a username"),
        ({"address": "h", "tls": {}}, "use mqtts"),
        ({"address": "mqtts://h", "tls": {"key": "/k"}}, "without a certificate"),
        ({"address": "mqtts://h", "tls": {"insecure": True, "ca": "/c"}}, "nothing would check"),
        ({"address": "h", "status": {"topic": "a/{device}"}}, "one for all devices"),
        ({"address": "h", "payload": "sparkplug"}, "needs the setting sparkplug"),
        ({"address": "h", "sparkplug": {"group": "a/b", "node": "n"}}, "one level"),
        (
            {
                "address": "h",
                "status": {"topic": "a"},
                "sparkplug": {"group": "g", "node": "n"},
            },
            "one last will",
        ),
    ],
)
def test_wrong_targets_are_refused(settings, problem):
    with pytest.raises(ValidationError, match=problem) as refused:
        MqttTarget.model_validate(settings)
    assert not any("secret" in error["msg"] for error in refused.value.errors())


@pytest.mark.parametrize(
    "settings",
    [
        {"topic": "a/+"},
        {"topic": "a/#"},
        {"topic": "a\x01"},
        {"topic": "a\ud800"},
        {"topic": "a\ufdd0"},
        {"topic": "a\U0001ffff"},
        {"topic": "$SYS/broker/version"},
        {"topic": "$share/all/a"},
        {"userProperties": {"a": "\x00"}},
        {"userProperties": {"\x7f": "a"}},
        {"topic": "{devise}"},
        {"topic": "{property}", "payload": "device"},
        {"topic": "a", "payload": "sparkplug"},
        {"qos": 3},
    ],
)
def test_wrong_places_are_refused(settings):
    with pytest.raises(ValidationError):
        MqttPlace.model_validate(settings)


def test_where_readings_go_by_default():
    assert MqttPlace().topic_template("json") == "dmi/data/{namespace}/{device}/{property}"
    assert MqttPlace().topic_template("device") == "dmi/data/{namespace}/{device}"


def test_a_devices_push_method():
    declared = PushMqtt(address="tcp://127.0.0.1:1883", topic="a/b", qos=2, retained=True)
    settings, place = MqttSink.pushed(declared)
    assert MqttTarget.model_validate(settings).address == "mqtt://127.0.0.1:1883"
    found = MqttPlace.model_validate(place)
    assert (found.topic, found.qos, found.retained) == ("a/b", 2, True)
    with pytest.raises(UnsupportedError):
        MqttSink.pushed(PushHttp())
