import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.errors import ConversionError
from dmi.readings import Quality, Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Source
from mapper_sdk.rest.views import reading_view
from mapper_sdk.sinks.payloads import (
    Template,
    checked_template,
    device_json,
    kubeedge_text,
    reading_json,
    topic_level,
    url_segment,
)

KILN = Source(
    Key("plant", "kiln-7"), "temperature", DataType.DOUBLE, "°C", "kiln", {"line": "a/b", "n": "1"}
)


def source(data_type, name="x"):
    return Source(Key("plant", "kiln-7"), name, data_type)


def test_a_reading_has_the_names_of_the_rest_api():
    assert json.loads(reading_json(KILN, Reading(21.5, 1790000000.25))) == {
        "namespace": "plant",
        "device": "kiln-7",
        "property": "temperature",
        "value": 21.5,
        "type": "DOUBLE",
        "unit": "°C",
        "time": "2026-09-21T14:13:20.250Z",
        "quality": "good",
        "reason": "",
    }


@pytest.mark.parametrize(
    ("value", "data_type", "written"),
    [
        (2**63 - 1, DataType.INT, 2**63 - 1),
        (0.1, DataType.FLOAT, 0.1),
        (False, DataType.BOOLEAN, False),
        (b"\x00\xff", DataType.BYTES, "AP8="),
        ("ä", DataType.STRING, "ä"),
        (None, DataType.INT, None),
    ],
)
def test_values_have_the_form_of_the_rest_api(value, data_type, written):
    quality = Quality.BAD if value is None else Quality.UNCERTAIN
    reading = Reading(value, 1790000000.0, quality, "stale")
    found = json.loads(reading_json(source(data_type), reading))
    assert found["value"] == written
    assert type(found["value"]) is type(written)
    view = reading_view(reading, data_type)
    assert {name: found[name] for name in view} == view


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ConversionError, match=str(value)):
        reading_json(KILN, Reading(value, 0.0))


def test_a_device_is_named_once():
    text = device_json([(KILN, Reading(1.5, 0.0)), (source(DataType.INT), Reading(2, 1.0))])
    found = json.loads(text)
    assert (found["namespace"], found["device"]) == ("plant", "kiln-7")
    assert [(one["property"], one["value"]) for one in found["readings"]] == [
        ("temperature", 1.5),
        ("x", 2),
    ]
    assert "device" not in found["readings"][0]


def test_kubeedges_text():
    text = kubeedge_text("a/b", KILN, Reading(21.50, 1790000000.9))
    assert text == "time is 2026-09-21 14:13:20  a/b: 21.5"
    assert kubeedge_text("a/b", KILN, Reading(None, 0.0, Quality.BAD, "deadline")) is None


def test_a_template_is_filled_with_escaped_names():
    template = Template("{namespace}/{{x}}/{device}/{property}/{model}/{label:line}/{label:none}")
    filled = template.fill(KILN, topic_level)
    assert filled == "plant/{x}/kiln-7/temperature/kiln/a%2Fb/_"
    assert template.fields == {
        "namespace", "device", "property", "model", "label:line", "label:none",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["{", "}", "{devise}", "{label:}", "{label}", "{}", "{{device}"])
def test_a_template_that_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match="there is "):
        checked_template(text)


def test_text_without_fields_is_a_template():
    assert checked_template("a/b") == "a/b"
    assert Template("a/b").fill(KILN, topic_level) == "a/b"


def test_what_brokers_hang_up_at_is_escaped():
    assert topic_level("a\x01b\ufdd0c\U0010ffffd\ud800") == "a%01b%FDD0c%10FFFFd%D800"


@given(st.text(), st.text())
def test_names_stay_in_their_level_and_apart(one, other):
    for escape, forbidden in ((topic_level, "/+#\x00"), (url_segment, "/?#&")):
        assert not set(escape(one)) & set(forbidden)
        if one != other:
            assert escape(one) != escape(other)


def test_a_name_cannot_climb_in_a_path():
    assert url_segment("..") == "%2E%2E"
