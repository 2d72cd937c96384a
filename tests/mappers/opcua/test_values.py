import json
import math
from datetime import UTC, datetime

import pytest
from asyncua import ua
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from dmi.errors import (
    ConversionError,
    DeadlineError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)
from dmi.readings import Quality, Reading
from mappers.opcua.values.reading import answer_of, jsonable
from mappers.opcua.values.refusals import cannot_subscribe, error_of, is_gone, status_name
from mappers.opcua.values.structures import Structures
from mappers.opcua.values.writing import to_variant

NONE = Structures()


def data(value, code=0, source=None):
    return ua.DataValue(ua.Variant(value), ua.StatusCode(code), SourceTimestamp=source)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (data(1.5), Reading(1.5, 9.0)),
        (data(ua.ServerState.Failed), Reading(1, 9.0)),
        (data(1.5, source=datetime(1601, 1, 1, tzinfo=UTC)), Reading(1.5, 9.0)),
        (data(1.5, source=datetime(2026, 1, 1)), Reading(1.5, 1767225600.0)),
        (data([1, 2]), Reading("[1,2]", 9.0)),
        (data(None), Reading(None, 9.0, Quality.BAD, "BadNoData")),
        (
            data(2, ua.StatusCodes.UncertainLastUsableValue),
            Reading(2, 9.0, Quality.UNCERTAIN, "UncertainLastUsableValue"),
        ),
        (
            data(2, ua.StatusCodes.BadOutOfService),
            Reading(None, 9.0, Quality.BAD, "BadOutOfService"),
        ),
    ],
)
def test_what_a_server_says_of_a_node(given, meant):
    assert answer_of(given, 9.0, NONE) == meant


def test_a_node_that_is_none_is_an_error():
    assert isinstance(answer_of(data(0, ua.StatusCodes.BadNodeIdUnknown), 9.0, NONE), NotFoundError)


def test_everything_composed_is_json():
    assert jsonable([math.nan, b"\x00", None, ua.StatusCode(0x80340000)], NONE) == [
        *("nan", "AA==", None, "BadNodeIdUnknown"),
    ]
    status = ua.BuildInfo(ProductName="x")
    assert jsonable(ua.Variant(status), NONE)["ProductName"] == "x"
    assert jsonable(object(), NONE).startswith("<object")


def test_structures_of_the_standard_are_filled_from_json():
    def filled(pattern, given):
        like = ua.Variant(pattern, ua.VariantType.ExtensionObject)
        return to_variant(json.dumps(given), like, NONE).Value

    argument = ua.Argument(Name="a", ValueRank=-1, Description=ua.LocalizedText("d"))
    found = filled(argument, {"Name": "b", "ValueRank": 1, "Description": "e"})
    assert (found.Name, found.ValueRank, found.Description.Text) == ("b", 1, "e")
    for pattern, given in ((argument, 5), (argument, {"x": 1}), (ua.ExtensionObject(), {})):
        with pytest.raises(ConversionError):
            filled(pattern, given)
    assert jsonable(ua.ExtensionObject(), NONE) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("x", ua.VariantType.Double),
        (None, ua.VariantType.Int32),
        ("yesterday", ua.VariantType.DateTime),
        ("no id", ua.VariantType.NodeId),
        ("{}", ua.VariantType.DataValue),
    ],
)
def test_what_does_not_fit(value, kind):
    pattern = ua.Variant(None)
    object.__setattr__(pattern, "VariantType", kind)
    with pytest.raises(ConversionError):
        to_variant(value, pattern, NONE)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UaStatusCodeError(ua.StatusCodes.BadTooManySessions), OverloadedError),
        (UaStatusCodeError(ua.StatusCodes.BadTimeout), DeadlineError),
        (UaStatusCodeError(ua.StatusCodes.BadSessionClosed), UnavailableError),
        (UaStatusCodeError(ua.StatusCodes.BadLicenseExpired), RefusedError),
        (TimeoutError(), DeadlineError),
        (UaError("odd"), RefusedError),
        (ConnectionError(), UnavailableError),
        (RefusedError("ours"), RefusedError),
    ],
)
def test_errors_of_the_library(error, kind):
    found = error_of(error, "reading")
    assert type(found) is kind
    assert is_gone(found) is (kind in {UnavailableError, DeadlineError})


def test_status_codes_by_name():
    assert status_name(ua.StatusCodes.BadNodeIdUnknown | 0x400) == "BadNodeIdUnknown"
    assert status_name(0x8FFF0000) == "0x8FFF0000"
    assert cannot_subscribe(ua.StatusCodes.BadTooManyMonitoredItems)
    assert not cannot_subscribe(ua.StatusCodes.BadNodeIdUnknown)
