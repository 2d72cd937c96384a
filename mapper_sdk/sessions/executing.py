"""Running commands: each once, one of a device at a time, and keeping what became of them."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from dmi.bell import Bell
from dmi.clock import Clock, SystemClock
from dmi.errors import ConflictError, DmiError, UnavailableError, UnsupportedError
from dmi.readings import Value
from dmi.reports import Command, CommandProgress, Phase
from dmi.resources import Key
from mapper_sdk.sessions.calling import Callee
from mapper_sdk.sessions.session import Begin

__all__ = ["Executor"]

_MOST_OPEN: Final = 1000
_REMEMBERED: Final = 1000
_LONGEST_RESULTS: Final = 256 * 1024
"""Characters and bytes of one command's results."""
_LATE: Final = "its turn did not come before the deadline"


class _LateError(ConflictError):
    """The deadline has passed before the command began. Says nothing of the device."""


class Executor:
    """Takes commands over as many streams as it takes, and runs each of them once.

    The outcome of a command is kept until whoever sent it has it for good, and longer for
    the last thousand, without results. It is gone with the process, and so is what is still
    running: the other side knows that by the process's name.

    Attributes:
        open: How far each command has come whose outcome is not settled; oldest first.
        news: Rings when one of them has come further.
        decided: Ring it when devices may have become known or connected.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.open: dict[str, CommandProgress] = {}
        self.news = Bell()
        self.decided = Bell()
        self.callee: Callee | None = None
        self._clock = clock or SystemClock()
        self._settled: OrderedDict[str, CommandProgress] = OrderedDict()
        self._arrived: asyncio.Queue[Command] = asyncio.Queue()  # holds no more than `open`
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._turns: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._stopping = False

    def stop(self) -> None:
        """Let nothing begin any more; what has begun goes on."""
        self._stopping = True
        self.decided.ring()

    async def settled(self) -> None:
        """Return when everything that was taken is settled."""
        while self.open:
            await self.news.next()

    def take(self, command: Command) -> None:
        """Take a command, the same one again, its withdrawal, or that it is settled."""
        if command.settled:
            self._settle(command.id)
        elif command.id in self._settled:
            # Whoever asks again has not got it after all.
            self._say(self._settled.pop(command.id))
        elif command.id not in self.open:
            self._begin(command)
        elif command.cancel and self.open[command.id].phase is Phase.ACCEPTED:
            self._cancel(command)

    def refuse(self, command_id: str, reason: str, text: str) -> None:
        """Answer a command that cannot be understood; one that is known is left alone."""
        if command_id not in self.open and command_id not in self._settled:
            now = self._clock.time()
            self._say(CommandProgress(command_id, Phase.UNSUCCESSFUL, now, 0, reason, text))

    def _begin(self, command: Command) -> None:
        now = self._clock.time()
        if command.cancel:
            self._cancel(command)
        elif len(self.open) >= _MOST_OPEN:
            text = f"{_MOST_OPEN} commands have not ended here: too many"
            self._say(CommandProgress(command.id, Phase.UNSUCCESSFUL, now, 0, "overloaded", text))
        else:
            self._say(CommandProgress(command.id, Phase.ACCEPTED, now))
            self._arrived.put_nowait(command)

    def _cancel(self, command: Command) -> None:
        text = "it was taken back before it began"
        self._end(command, Phase.CANCELLED, "cancelled", text)
        task = self._runs.get(command.id)
        if task is not None:
            task.cancel()

    def _settle(self, command_id: str) -> None:
        progress = self.open.pop(command_id, None)
        if progress is None:
            return
        # Whoever has it for good has the results too.
        self._settled[command_id] = replace(progress, results={})
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
        self.news.ring()

    async def run(self) -> None:
        """Run what is taken, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                command = await self._arrived.get()
                known = self.open.get(command.id)
                if known is not None and known.phase is Phase.ACCEPTED:
                    task = group.create_task(self._run(command), name=f"command {command.id}")
                    self._runs[command.id] = task
                    task.add_done_callback(partial(self._ran, command.id))

    def _ran(self, command_id: str, _task: asyncio.Task[None]) -> None:
        del self._runs[command_id]

    async def _run(self, command: Command) -> None:
        """See one command to its end; a deadline bounds the wait for its beginning only."""
        begun = False
        seconds = command.deadline - self._clock.time()
        limit = asyncio.timeout(max(0.0, seconds))

        def begin() -> None:
            nonlocal begun
            if self._clock.time() > command.deadline:
                raise _LateError(_LATE)
            begun = True
            limit.reschedule(None)
            self._say(CommandProgress(command.id, Phase.RUNNING, self._clock.time()))

        turn = self._turns.setdefault(command.device, asyncio.Lock())
        try:
            async with limit, turn:
                self._succeed(command, await self._call(command, begin))
        except (TimeoutError, _LateError):
            self._end(command, Phase.EXPIRED, "deadline", _LATE)
        except DmiError as error:
            text = str(error)
            if begun and error.retryable:
                text += "; whether the device has done it is not known"
            self._end(command, Phase.UNSUCCESSFUL, error.reason, text)

    async def _call(self, command: Command, begin: Begin) -> Mapping[str, Value]:
        callee = self.callee
        if callee is None:
            raise UnsupportedError("this mapper calls no methods")
        while not self._stopping and callee.is_undecided(command.device):
            await self.decided.next()
        if self._stopping:
            raise UnavailableError("the mapper is stopping")
        return await callee.call(command.device, command.method, command.arguments, begin)

    # ------------------------------------------------------------ details ----

    def _succeed(self, command: Command, results: Mapping[str, Value]) -> None:
        done = CommandProgress(command.id, Phase.SUCCEEDED, self._clock.time(), 100)
        size = sum(len(one) for one in results.values() if isinstance(one, str | bytes))
        if size > _LONGEST_RESULTS:
            text = f"its results are longer than {_LONGEST_RESULTS} characters and are not kept"
            self._say(replace(done, reason="too_large", message=text))
        else:
            self._say(replace(done, results=dict(results)))

    def _end(self, command: Command, phase: Phase, reason: str, text: str) -> None:
        now = self._clock.time()
        self._say(CommandProgress(command.id, phase, now, 0, reason, text))

    def _say(self, progress: CommandProgress) -> None:
        self.open[progress.id] = progress
        self.news.ring()
