import asyncio

import pytest

from dmi.errors import (
    AccessDeniedError,
    DeadlineError,
    OutOfRangeError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from mapper_sdk.driver import Transacting
from mapper_sdk.sessions.writing import Progress


@pytest.fixture
async def served(plant, make):
    plant.station()
    model = make.model(a={"maximum": "50"}, b={}, c={}, r={"accessMode": "ReadOnly"})
    device = make.device(a={"cell": 1, "scale": 0.1}, b={"cell": 2}, c={"cell": 3}, r={"cell": 4})
    async with plant.running():
        await plant.put(model, device)
        plant.station().reads.clear()
        yield plant


@pytest.fixture
async def together(plant, make):
    """A driver that writes at once what lies side by side."""
    station = plant.station()

    class Together(plant.mapper.driver_class, Transacting):
        async def write_together(self, writes):
            cells = [visit.cell for visit, _ in writes]
            if cells != list(range(cells[0], cells[0] + len(cells))):
                raise UnsupportedError("not side by side")
            await self._exchange()
            station.writes.append(dict(zip(cells, [raw for _, raw in writes], strict=True)))
            if station.on_write is not None:
                station.on_write(None, None)

    plant.mapper._around.driver_class = Together
    async with plant.running():
        await plant.put(
            make.model(a={}, b={}, c={}),
            make.device(a={"cell": 1}, b={"cell": 2}, c={"cell": 9}),
        )
        yield plant


async def test_several_are_written_in_order_and_read_back_at_once(served):
    progress = Progress()
    await served.session().write_all({"b": 2, "a": 20.5}, progress)
    assert served.station().writes == [(2, 2.0), (1, 205)]
    assert served.station().reads == [[2, 1]]
    assert (progress.written, progress.unknown, progress.together) == (["b", "a"], [], False)
    assert served.session().point("a").latest.value == 20.5


async def test_reading_back_can_be_left_out(served):
    await served.session().write_all({"b": 2}, Progress(), read_back=False)
    assert served.station().reads == []
    assert served.session().point("b").latest.value == 0


@pytest.mark.parametrize(
    ("values", "error"),
    [({"b": 1, "a": 51}, OutOfRangeError), ({"b": 1, "r": 1}, AccessDeniedError)],
)
async def test_all_are_checked_before_the_first_is_written(served, values, error):
    with pytest.raises(error):
        await served.session().write_all(values, Progress())
    assert served.station().writes == []


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (RefusedError("locked"), []),
        (OverloadedError("busy"), []),
        (UnavailableError("gone"), ["b"]),
        (DeadlineError("late"), ["b"]),
    ],
)
async def test_the_first_failure_ends_it_and_what_is_written_is_known(served, error, unknown):
    def fail(cell, value):
        if cell == 2:
            raise error

    served.station().on_write = fail
    progress = Progress()
    with pytest.raises(type(error)):
        await served.session().write_all({"a": 1, "b": 2, "c": 3}, progress)
    assert (progress.written, progress.unknown) == (["a"], unknown)
    assert [cell for cell, _ in served.station().writes] == [1, 2]


async def test_who_asks_before_the_turn_can_keep_it_from_happening(served):
    def begin():
        raise AccessDeniedError("not any more")

    progress = Progress()
    with pytest.raises(AccessDeniedError, match="not any more"):
        await served.session().write_all({"a": 1}, progress, begin)
    assert (progress.written, served.station().writes) == ([], [])


async def test_a_busy_bus_is_waited_for_only_so_long(served):
    station = served.station()
    station.hold = asyncio.Event()
    await served.clock.advance(1)
    with pytest.raises(DeadlineError, match=r"0\.01 s"):
        await served.session().write_all({"a": 1}, Progress(), limit=0.01)
    station.hold.set()
    await served.clock.settle()
    assert station.writes == []


async def test_a_protocol_that_can_writes_all_at_once(together):
    progress = Progress()
    await together.session().write_all({"a": 1, "b": 2}, progress)
    assert together.station().writes == [{1: 1.0, 2: 2.0}]
    assert (progress.written, progress.together) == (["a", "b"], True)


async def test_what_it_cannot_write_at_once_is_written_one_by_one(together):
    progress = Progress()
    await together.session().write_all({"a": 1, "c": 2}, progress)
    assert together.station().writes == [(1, 1.0), (9, 2.0)]
    assert (progress.written, progress.together) == (["a", "c"], False)


async def test_one_alone_is_written_as_ever(together):
    await together.session().write_all({"a": 1}, Progress())
    assert together.station().writes == [(1, 1.0)]


@pytest.mark.parametrize(
    ("error", "unknown"), [(RefusedError("no"), []), (UnavailableError("gone"), ["a", "b"])]
)
async def test_at_once_means_all_or_none(together, error, unknown):
    def fail(cell, value):
        raise error

    together.station().on_write = fail
    progress = Progress()
    with pytest.raises(type(error)):
        await together.session().write_all({"a": 1, "b": 2}, progress)
    assert (progress.written, progress.unknown, progress.together) == ([], unknown, True)
    assert together.station().writes == [{1: 1.0, 2: 2.0}]
