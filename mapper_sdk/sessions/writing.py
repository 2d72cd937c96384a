"""Writing several properties of a device: at once where its protocol can, else one by one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dmi.errors import DmiError, OverloadedError, RefusedError, UnsupportedError
from dmi.readings import Value
from mapper_sdk.devices.plan import Point
from mapper_sdk.driver import Driver, Transacting
from mapper_sdk.sessions.intake import guarded

__all__ = ["Progress", "write_points"]


@dataclass(slots=True)
class Progress:
    """How far it has come; true also when an error ends it.

    Attributes:
        written: Names of properties that the device accepted, in order.
        unknown: Names of those that were sent, without an answer that says what became of it.
        refused: Names of those that the device has refused, or that do not fit into it.
        together: They were written at once: all or none.
    """

    written: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    together: bool = False


async def write_points(
    driver: Driver[Any, Any], writes: Sequence[tuple[Point, Value]], progress: Progress
) -> None:
    """Write checked values, inside a turn on the bus; ends at the first failure.

    Raises:
        DmiError: As the driver says; `progress` tells what is written.
    """
    raws = [(point, _raw(point, value, progress)) for point, value in writes]
    if isinstance(driver, Transacting) and len(raws) > 1:
        names = [point.name for point, _ in raws]
        together = [(point.visit, raw) for point, raw in raws]
        try:
            await guarded(driver.patience, driver.write_together, together)
        except UnsupportedError:
            pass  # Not these: the driver has written none of them.
        except (DmiError, asyncio.CancelledError) as error:
            progress.together = True
            (progress.unknown if _is_unclear(error) else progress.refused).extend(names)
            raise
        else:
            progress.together = True
            progress.written += names
            return
    for point, raw in raws:
        try:
            await guarded(driver.patience, driver.write, point.visit, raw)
        except (DmiError, asyncio.CancelledError) as error:
            (progress.unknown if _is_unclear(error) else progress.refused).append(point.name)
            raise
        progress.written.append(point.name)


def _raw(point: Point, value: Value, progress: Progress) -> Value:
    try:
        return point.scaling.reverse(value)
    except DmiError:
        progress.refused.append(point.name)
        raise


def _is_unclear(error: DmiError | asyncio.CancelledError) -> bool:
    """Whether the device may have accepted it all the same."""
    if isinstance(error, asyncio.CancelledError):
        return True
    if isinstance(error, (RefusedError, OverloadedError)):
        return False  # It has answered, and the answer is no.
    return error.retryable or not 400 <= error.http_status < 500
