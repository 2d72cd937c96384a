import asyncio

import pytest

from dmi.errors import DeadlineError, DriverBugError, RefusedError, UnavailableError
from dmi.readings import Quality, Reading
from dmi.resources import AccessMode, DataType, Key
from mapper_sdk.devices.plan import Point, Unserved
from mapper_sdk.sessions.intake import converted, guarded, take


def point(name, data_type=DataType.FLOAT):
    made = Point(1, Key("default", "dev"), name, data_type, AccessMode.READ_ONLY, Unserved())
    made.prepare()
    return made


def test_each_answer_becomes_its_points_latest_reading():
    points = [point("a"), point("b"), point("c")]
    batch, lost = take(points, [1.5, RefusedError("no"), Reading(2.0, 7.0)], 5.0)
    assert [reading for _, reading in batch] == [
        Reading(1.5, 5.0),
        Reading(None, 5.0, Quality.BAD, "refused"),
        Reading(2.0, 7.0),
    ]
    assert [p.latest for p in points] == [reading for _, reading in batch]
    assert [p.trouble for p in points] == ["", "no", ""]
    assert lost is None


def test_a_value_that_does_not_fit_is_bad_and_says_why_until_one_fits():
    hot = point("hot")
    (pair,), _ = take([hot], [float("nan")], 5.0)
    assert pair[1] == Reading(None, 5.0, Quality.BAD, "conversion")
    assert "nan" in hot.trouble
    take([hot], [1.0], 6.0)
    assert (hot.latest.value, hot.trouble) == (1.0, "")
    (pair,), _ = take([hot], [Reading("text", 9.0)], 5.0)
    assert pair[1] == Reading(None, 9.0, Quality.BAD, "conversion")


@pytest.mark.parametrize("moment", [-1.0, 1.79e12, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_bad_and_goes_no_further(moment):
    """Such as milliseconds, which no database and no JSON would take for seconds."""
    hot = point("hot")
    (pair,), _ = take([hot], [Reading(1.5, moment)], 5.0)
    assert pair[1] == hot.latest == Reading(None, 5.0, Quality.BAD, "conversion")
    assert "1970 to 9999" in hot.trouble
    given = [Reading(1.5, 4.0), Reading(2.5, moment), Reading(None, moment, Quality.BAD, "no")]
    bad = Reading(None, 5.0, Quality.BAD, "conversion")
    assert converted(hot, given, 5.0) == [Reading(1.5, 4.0), bad, bad]


def test_only_if_nothing_can_be_reached_is_the_device_lost():
    error = DeadlineError("silent")
    assert take([point("a"), point("b")], [error, error], 5.0)[1] is error
    assert take([point("a"), point("b")], [error, RefusedError("no")], 5.0)[1] is None


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (RefusedError("no"), RefusedError),
        (TimeoutError(), DeadlineError),
        (ConnectionRefusedError(111, "refused"), UnavailableError),
        (KeyError("x"), DriverBugError),
    ],
)
async def test_nothing_but_our_errors_escapes_a_driver(raised, seen):
    async def call():
        raise raised

    with pytest.raises(seen):
        await guarded(1.0, call)


async def test_a_call_that_takes_too_long_is_cancelled():
    gone = asyncio.Event()

    async def call():
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    with pytest.raises(DeadlineError, match=r"within 0\.01 s"):
        await guarded(0.01, call)
    assert gone.is_set()


async def test_cancellation_is_not_taken_for_a_fault():
    task = asyncio.create_task(guarded(5.0, asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
