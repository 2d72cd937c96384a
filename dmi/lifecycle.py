"""Running a set of jobs side by side until somebody says stop."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping

__all__ = ["Job", "collect_garbage_rarely", "run_until", "stopped_by_signals"]

log = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]
"""Does its work until it is cancelled, or returns when there is no more of it."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_GARBAGE_THRESHOLDS = (50_000, 20, 50)


async def run_until(
    stop: asyncio.Event, jobs: Mapping[str, Job], drain: Job, *, grace: float
) -> None:
    """Run all jobs until `stop` is set, drain for at most `grace` seconds, cancel the jobs.

    The jobs still run while `drain` does, so that it can wait for them to empty.

    Args:
        stop: Set from a signal handler or by another job.
        jobs: By name; the name shows in logs and tracebacks.
        drain: Brings what is under way to its end.
        grace: How long `drain` may take, in seconds.

    Raises:
        ExceptionGroup: A job had a bug; the other jobs were cancelled first.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_run(job), name=name) for name, job in jobs.items()]
        await stop.wait()
        try:
            async with asyncio.timeout(grace):
                await drain()
        except TimeoutError:
            log.warning("stopped before everything was drained: it took over %.1f s", grace)
        for task in tasks:
            task.cancel()


async def _run(job: Job) -> None:
    await job()


@contextlib.contextmanager
def stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Within the block SIGTERM and SIGINT set `stop`; a second one acts as if unhandled."""
    loop = asyncio.get_running_loop()

    def handle(number: signal.Signals) -> None:
        log.info("%s: stopping", number.name)
        stop.set()
        # Whoever asks twice does not want to wait for the drain.
        for each in _SIGNALS:
            loop.remove_signal_handler(each)

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def collect_garbage_rarely() -> None:
    """Let Python look for reference cycles less often, and never in what is loaded by now.

    For processes that carry readings, before they begin to. A message of readings makes ten
    thousand objects at once, none of them in a cycle. By default Python searches all that it
    knows for cycles several times meanwhile, which takes half of a busy mapper's time and
    stops it for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
