import asyncio
import gc
import os
import signal

import pytest

from dmi.lifecycle import collect_garbage_rarely, run_until, stopped_by_signals
from dmi.readings import Reading


async def forever():
    await asyncio.Event().wait()


async def nothing():
    return


async def test_drains_while_the_jobs_still_run_then_cancels_them():
    stop, order = asyncio.Event(), []

    async def job():
        stop.set()
        try:
            await forever()
        finally:
            order.append("job ended")

    async def drain():
        order.append("drained")

    await run_until(stop, {"job": job}, drain, grace=1)
    assert order == ["drained", "job ended"]


async def test_a_job_that_returns_does_not_stop_the_others():
    stop, done = asyncio.Event(), asyncio.Event()

    async def short():
        done.set()

    async def stopper():
        await done.wait()
        await asyncio.sleep(0)
        stop.set()

    await run_until(stop, {"short": short, "long": forever, "stopper": stopper}, nothing, grace=1)
    assert done.is_set()


async def test_a_slow_drain_is_cut_after_its_grace(caplog):
    stop = asyncio.Event()
    stop.set()
    await run_until(stop, {"job": forever}, forever, grace=0.01)
    assert "over 0.0 s" in caplog.text


async def test_a_bug_in_one_job_cancels_the_others_and_comes_out():
    ended = []

    async def buggy():
        raise ZeroDivisionError

    async def job():
        try:
            await forever()
        finally:
            ended.append(True)

    with pytest.raises(ExceptionGroup) as caught:
        await run_until(asyncio.Event(), {"job": job, "buggy": buggy}, nothing, grace=1)
    assert caught.group_contains(ZeroDivisionError)
    assert ended == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_set_the_event_and_the_handlers_are_taken_away(number):
    stop = asyncio.Event()
    before = signal.getsignal(number)
    with stopped_by_signals(stop):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 2)
    assert signal.getsignal(number) in (before, signal.default_int_handler, signal.SIG_DFL)


def test_a_message_of_readings_starts_no_search_for_cycles():
    before = gc.get_threshold()
    runs = []
    gc.callbacks.append(lambda phase, info: runs.append(phase))
    try:
        collect_garbage_rarely()
        runs.clear()
        kept = [(handle, Reading(1.5, 0.0)) for handle in range(5000)]
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.callbacks.pop()
    assert len(kept) == 5000
    assert runs == []
