"""The border to a driver: calling it safely, and making readings of its answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, TypeVarTuple

from dmi.errors import (
    ConversionError,
    DeadlineError,
    DmiError,
    DriverBugError,
    OverloadedError,
    UnavailableError,
)
from dmi.readings import Quality, Reading
from mapper_sdk.devices.plan import Point
from mapper_sdk.driver import Answer
from mapper_sdk.hub import Batch

__all__ = ["converted", "guarded", "is_fatal", "take"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_PLAIN = frozenset({int, float, bool, str, bytes})
_YEAR_10000 = 253_402_300_800.0


async def guarded(
    limit: float, call: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments
) -> Result:
    """Call a driver, and let nothing escape but `DmiError`.

    Raises:
        DeadlineError: It took longer than `limit` seconds, and was cancelled.
        UnavailableError: It let an OSError escape, as Python's sockets raise them.
        DriverBugError: It raised anything else; the traceback is in the log.
    """
    try:
        async with asyncio.timeout(limit):
            return await call(*arguments)
    except DmiError:
        raise
    except TimeoutError as error:
        raise DeadlineError(str(error) or f"no answer within {limit:g} s") from error
    except OSError as error:
        raise UnavailableError(str(error) or type(error).__name__) from error
    # Drivers are other people's code: what one does wrong may cost its own device, never
    # the others in this process. So this is the one place of the loop that catches everything.
    except Exception as error:
        log.exception("the driver has a bug")
        raise DriverBugError(f"{type(error).__name__}: {error}") from error


def is_fatal(error: DmiError) -> bool:
    """Whether the connection is lost by it; a device that says it is busy is there."""
    return isinstance(error, (UnavailableError, DriverBugError)) and not isinstance(
        error, OverloadedError
    )


def take(
    points: Sequence[Point], answers: Sequence[Answer], time: float
) -> tuple[Batch, UnavailableError | None]:
    """Turn a driver's answers into readings, and note each as its point's latest.

    Args:
        points: What was asked.
        answers: One for each point, in order.
        time: For answers that bring none of their own, seconds since 1970-01-01 UTC.

    Returns:
        The readings; and an error if not one of the points could be reached.

    Raises:
        DriverBugError: The number of answers is not that of the questions.
    """
    if len(answers) != len(points):
        raise DriverBugError(f"{len(answers)} answers to {len(points)} visits")
    batch: Batch = []
    lost: UnavailableError | None = None
    unreachable = 0
    for point, answer in zip(points, answers, strict=True):
        # The exact types first: this loop runs for every single reading.
        if type(answer) in _PLAIN:
            try:
                reading = point.convert(answer, time)
            except ConversionError as error:
                reading = point.fail(error.reason, error.message, time)
            else:
                point.latest = reading
                if point.trouble:
                    point.trouble = ""
        elif isinstance(answer, Reading):
            reading = _with_source_time(point, answer, time)
        elif isinstance(answer, DmiError):
            reading = point.fail(answer.reason, str(answer), time)
            if isinstance(answer, UnavailableError):
                lost = answer
                unreachable += 1
        else:
            raise DriverBugError(f"{point.name}: a driver cannot answer {answer!r}")
        batch.append((point, reading))
    return batch, lost if unreachable == len(points) else None


def converted(point: Point, answers: Sequence[Answer], time: float) -> list[Reading]:
    """Readings of the past, in the property's unit; its latest reading stays what it is.

    Args:
        point: What they are of.
        answers: As the driver gives them.
        time: For those that bring none, seconds since 1970-01-01 UTC.
    """
    readings: list[Reading] = []
    for answer in answers:
        given = answer if isinstance(answer, Reading) else None
        if given is not None and not _can_be(given.time):
            readings.append(Reading(None, time, Quality.BAD, ConversionError.reason))
            continue
        moment = given.time if given is not None else time
        value = given.value if given is not None else answer
        reason = given.reason if given is not None else ""
        if value is None or isinstance(value, (DmiError, Reading)):
            reason = value.reason if isinstance(value, DmiError) else reason
            readings.append(Reading(None, moment, Quality.BAD, reason or "bad"))
            continue
        try:
            reading = point.convert(value, moment)
        except ConversionError as error:
            reading = Reading(None, moment, Quality.BAD, error.reason)
        if given is not None and given.quality is Quality.UNCERTAIN:
            reading = Reading(reading.value, moment, reading.quality or given.quality, reason)
        readings.append(reading)
    return readings


def _can_be(time: float) -> bool:
    """Whether databases and JSON have such a time: none before 1970, none after 9999, no NaN."""
    return 0 <= time < _YEAR_10000


def _with_source_time(point: Point, answer: Reading, now: float) -> Reading:
    """Convert the value of a reading that brings its own time and quality."""
    if not _can_be(answer.time):
        problem = f"its time {answer.time!r} lies outside the years 1970 to 9999, in seconds"
        return point.fail(ConversionError.reason, problem, now)
    if answer.value is None or answer.quality is Quality.BAD:
        return point.fail(answer.reason or "bad", answer.reason, answer.time)
    try:
        reading = point.convert(answer.value, answer.time)
    except ConversionError as error:
        return point.fail(error.reason, error.message, answer.time)
    if answer.quality is not Quality.GOOD:
        reading = Reading(reading.value, answer.time, answer.quality, answer.reason)
    point.latest = reading
    point.trouble = ""
    return reading
