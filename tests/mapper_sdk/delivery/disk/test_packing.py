import math
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.readings import Quality, Reading
from mapper_sdk.delivery.disk.packing import PackedError, pack, unpack, unpack_times

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.binary(),
)
READINGS = st.lists(
    st.builds(
        Reading,
        VALUES,
        st.floats(0, 4e9),
        st.sampled_from(Quality),
        st.text(st.characters(codec="utf-8"), max_size=9),
    ),
    max_size=9,
)


def same(one, other):
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other and str(one) == str(other)


@given(READINGS)
def test_every_reading_comes_back_as_it_was(readings):
    numbers = list(range(len(readings)))
    routes, found = unpack(pack(numbers, readings))
    assert routes == numbers
    assert [(r.time, r.quality, r.reason) for r in found] == [
        (r.time, r.quality, r.reason) for r in readings
    ]
    assert all(same(a.value, b.value) for a, b in zip(found, readings, strict=True))


def test_half_a_surrogate_pair_in_a_reason_does_no_harm():
    _, (found,) = unpack(pack([1], [Reading("\ud800", 1.0, Quality.UNCERTAIN, "\ud800")]))
    assert (found.value, found.reason) == ("\ud800", "?")


def test_counting_needs_no_values():
    readings = [Reading(b"x", 1.5), Reading(None, 2.5)]
    assert unpack_times(pack([7, 8], readings)) == ([7, 8], [1.5, 2.5])


DAMAGED = [
    b"",
    b"no",
    pack([1], [Reading(1, 1.0)])[:-3],
    zlib.compress(b"[[1]"),
    zlib.compress(b"3"),
    zlib.compress(orjson.dumps(([1, 2], [1.0], [1], [], []))),
    zlib.compress(orjson.dumps(([1], [1.0, 2.0], [1], [], []))),
    zlib.compress(orjson.dumps(([1], [1.0], [None], [[5, "int", "1"]], []))),
    zlib.compress(orjson.dumps(([1], [1.0], [None], [[0, "what", "1"]], []))),
    zlib.compress(orjson.dumps(([1], [1.0], [None], [], [[0, 9, ""]]))),
]


@pytest.mark.parametrize("data", DAMAGED)
def test_damage_is_found(data):
    with pytest.raises(PackedError):
        unpack(data)


@pytest.mark.parametrize("data", DAMAGED[:5])
def test_damage_is_found_when_counting(data):
    with pytest.raises(PackedError):
        unpack_times(data)
