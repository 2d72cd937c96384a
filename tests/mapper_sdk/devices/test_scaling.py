import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from dmi.errors import ConversionError
from dmi.readings import Quality, Reading
from dmi.resources import DataType
from mapper_sdk.devices.gate import Gate
from mapper_sdk.devices.scaling import Common, Scaling, converter, settings_table, split_settings


def scaling(data_type=DataType.FLOAT, **settings):
    return Scaling(Common.model_validate(settings), data_type)


def convert(raw, data_type=DataType.FLOAT, low=None, high=None, **settings):
    return converter(data_type, Common.model_validate(settings), low, high)(raw, 5.0)


class OwnOffset(BaseModel):
    offset: int = 0
    factor: float = Field(default=1, validation_alias=AliasChoices("scale", "factor"))


class Plain(BaseModel):
    register_number: int = Field(default=0, alias="register")


def test_settings_are_divided_between_the_toolkit_and_the_driver():
    config = {"scale": 0.1, "offset": 3, "register": 7, "onChange": True, "maxSilence": 5}
    common, own = split_settings(config, Plain)
    assert common == {"scale": 0.1, "offset": 3, "onChange": True, "maxSilence": 5}
    assert own == {"register": 7}


def test_a_driver_with_an_offset_or_scale_of_its_own_keeps_it():
    config = {"offset": 3, "scale": 2, "valueOffset": 4}
    common, own = split_settings(config, OwnOffset)
    assert common == {"valueOffset": 4}
    assert own == {"offset": 3, "scale": 2}


def test_offset_and_value_offset_mean_the_same():
    assert Common.model_validate({"offset": 3}).value_offset == 3
    assert Common.model_validate({"valueOffset": 4, "offset": 3}).value_offset == 4


def test_numbers_as_text_and_as_edgecore_sends_them():
    common = Common.model_validate(
        {
            "scale": 0.10000000149011612,
            "valueOffset": " -2.5 ",
            "decimals": 2.0,
            "deadband": "0.5",
            "onChange": "true",
            "maxSilence": "1500",
        }
    )
    assert (common.scale, common.value_offset, common.decimals) == (0.1, -2.5, 2)
    assert (common.deadband, common.on_change, common.max_silence) == (0.5, True, 1500)
    assert Common.model_validate({"onChange": 1.0, "maxSilence": 2000.0}).max_silence == 2000
    assert Common.model_validate({"scale": 1e300}).scale == 1e300


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": "nan"},
        {"scale": math.inf},
        {"scale": "wide"},
        {"deadband": -1},
        {"decimals": 1.5},
        {"decimals": 16},
        {"maxSilence": -1},
        {"onChange": "perhaps"},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        Common.model_validate(settings)


def test_settings_that_make_no_sense_for_the_type_are_named():
    assert Common(scale=0).misplaced(DataType.INT) == ["scale"]
    assert Common(scale=2, decimals=1).misplaced(DataType.STRING) == ["scale", "decimals"]
    given_ones = Common(value_offset=1, deadband=1)
    assert given_ones.misplaced(DataType.BOOLEAN) == ["valueOffset", "deadband"]
    assert given_ones.misplaced(DataType.DOUBLE) == []
    assert Common(on_change=True).misplaced(DataType.BYTES) == []


def test_scaled_numbers_carry_no_noise():
    tenth = scaling(scale=0.1)
    assert [tenth.apply(raw) for raw in (203, 201, 7)] == [20.3, 20.1, 0.7]
    assert scaling(scale=0.1, valueOffset=-40).apply(603) == 20.3
    assert scaling(scale=0.05).apply(3.0) == pytest.approx(0.15)
    assert scaling(scale=1e-9, valueOffset=1e-13).apply(2) == pytest.approx(2.0001e-9)
    assert scaling(decimals=1).apply(2.345) == 2.3


def test_an_int_is_the_nearest_whole_number_halves_upwards():
    half = scaling(DataType.INT, scale=0.5)
    assert [half.apply(raw) for raw in (1, 2, 3, -1, -3)] == [1, 1, 2, 0, -1]
    assert half.apply(2.9) == 1
    assert scaling(DataType.INT, scale=10).apply(2**60) == 10 * 2**60


def test_what_cannot_be_scaled_is_a_conversion_error():
    with pytest.raises(ConversionError):
        scaling(DataType.INT, scale=2).apply(math.nan)
    with pytest.raises(ConversionError):
        scaling(scale=0.1).apply(10**400)


def test_written_values_go_the_other_way_exactly():
    tenth = scaling(scale=0.1, valueOffset=-40)
    assert tenth.reverse(20.3) == 603
    assert isinstance(tenth.reverse(20.3), int)
    assert scaling(scale=2).reverse(5) == 2.5
    assert scaling().reverse(1.5) == 1.5
    assert scaling(DataType.BOOLEAN, onChange=True).reverse(value=True) is True
    assert scaling(scale=2).reverse("text") == "text"


@given(
    raw=st.integers(-(2**31), 2**31),
    scale=st.sampled_from([0.001, 0.01, 0.1, 0.25, 0.5, 2, 10, 1.8, -0.1]),
    offset=st.sampled_from([0, 32, -40, 273.15]),
)
def test_a_device_number_survives_the_round_trip(raw, scale, offset):
    way = scaling(DataType.DOUBLE, scale=scale, valueOffset=offset)
    assert way.reverse(way.apply(raw)) == pytest.approx(raw, abs=1e-3)
    assert way.same(way.apply(raw), way.apply(raw))


def test_confirmation_tolerates_the_step_of_the_scale_and_32_bits():
    assert scaling(scale=0.1).same(20.14, 20.1)
    assert not scaling(scale=0.1).same(20.16, 20.1)
    assert scaling().same(0.1, 0.10000000149011612)
    assert not scaling().same(0.1, 0.1001)
    assert scaling(decimals=1).same(2.34, 2.3)
    assert not scaling(DataType.INT).same(3, 4)
    assert scaling(DataType.STRING).same("a", "a")
    assert not scaling(DataType.STRING).same("1", 1)
    assert scaling(DataType.STRING).same("[1, 2]", "[1,2]")
    assert scaling(DataType.STRING).same('{"a": 1, "b": 2}', ' {"b":2,"a":1}')
    assert not scaling(DataType.STRING).same("[1, 2]", "[2, 1]")
    assert not scaling(DataType.STRING).same("[1", "[1 ")
    assert not scaling(DataType.STRING).same("1 ", "1")


@pytest.mark.parametrize(
    ("raw", "data_type", "value"),
    [
        (1.5, DataType.FLOAT, 1.5),
        (3, DataType.FLOAT, 3.0),
        (3, DataType.INT, 3),
        (3.0, DataType.INT, 3),
        (1, DataType.BOOLEAN, True),
        ("on", DataType.STRING, "on"),
        (b"\x00", DataType.BYTES, b"\x00"),
    ],
)
def test_readings_have_the_declared_type(raw, data_type, value):
    reading = convert(raw, data_type)
    assert reading == Reading(value, 5.0)
    assert type(reading.value) is type(value)


@pytest.mark.parametrize(
    ("raw", "data_type", "settings"),
    [
        (math.nan, DataType.FLOAT, {}),
        (math.inf, DataType.DOUBLE, {}),
        (math.nan, DataType.DOUBLE, {"scale": 0.1}),
        (math.nan, DataType.INT, {"scale": 0.1}),
        (1e39, DataType.FLOAT, {}),
        (2**63, DataType.INT, {}),
        (2**63, DataType.INT, {"scale": 2}),
        ("12", DataType.INT, {}),
        ("12", DataType.FLOAT, {"scale": 0.5}),
        (True, DataType.FLOAT, {"scale": 0.5}),
        (2, DataType.BOOLEAN, {}),
        (1, DataType.STRING, {}),
    ],
)
def test_what_does_not_fit_is_a_conversion_error(raw, data_type, settings):
    with pytest.raises(ConversionError):
        convert(raw, data_type, **settings)


def test_a_value_out_of_range_is_kept_as_uncertain():
    assert convert(11.0, low=0, high=10) == Reading(11.0, 5.0, Quality.UNCERTAIN, "out_of_range")
    assert convert(120, low=0, high=10, scale=0.1).quality is Quality.UNCERTAIN
    assert convert(-1, DataType.INT, low=0).reason == "out_of_range"
    assert convert(10.0, low=0, high=10) == Reading(10.0, 5.0)


def passing(readings, **settings):
    gate = Gate(Common.model_validate(settings))
    return [reading.value for now, reading in readings if gate.passes(reading, now)]


def good(*values):
    return [(index * 1.0, Reading(value, index)) for index, value in enumerate(values)]


def test_on_change_reports_changes_only():
    assert passing(good(1, 1, 2, 2, 1), onChange=True) == [1, 2, 1]
    assert passing(good("a", "a", "b"), onChange=True) == ["a", "b"]


def test_a_deadband_is_measured_from_what_was_reported():
    assert passing(good(1.0, 1.4, 1.8, 1.5, 1.2), deadband=0.5) == [1.0, 1.8, 1.2]


def test_after_the_longest_silence_anything_is_reported():
    assert passing(good(*[5] * 7), onChange=True, maxSilence=3000) == [5, 5, 5]
    assert passing(good(*[5] * 7), onChange=True, maxSilence=0) == [5]


def test_a_change_of_quality_always_passes():
    bad = Reading(None, 1, Quality.BAD, "unavailable")
    worse = Reading(None, 2, Quality.BAD, "deadline")
    readings = [(0, Reading(1, 0)), (1, bad), (2, bad), (3, worse), (4, Reading(1, 4))]
    assert passing(readings, onChange=True) == [1, None, None, 1]


def test_the_documented_table_is_the_generated_one():
    page = Path(__file__).parents[3] / "docs" / "common-settings.md"
    assert page.read_text() == settings_table()
