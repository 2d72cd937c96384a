"""Drivers made of blocking calls: each call runs in a thread, at most one a device at a time."""

import asyncio
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import ClassVar, Generic, TypeVar, TypeVarTuple

from pydantic import BaseModel

from dmi.errors import UnavailableError
from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver

__all__ = ["SyncDriver", "Workers"]

Link = TypeVar("Link", bound=BaseModel)
Visit = TypeVar("Visit", bound=BaseModel)
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_THREADS = 32


class Workers:
    """A bounded pool of daemon threads: a call that never returns cannot keep the process."""

    def __init__(self, size: int = _THREADS) -> None:
        self._size = size
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0

    def submit(
        self, call: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> "Future[Result]":
        """Run a call in a thread, as soon as one is free."""
        future: Future[Result] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*arguments)
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits for it
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._idle > self._jobs.qsize() or self._threads >= self._size:
                self._jobs.put(job)
                return future
            self._threads += 1
            number = self._threads
        self._jobs.put(job)
        threading.Thread(target=self._work, name=f"driver-{number}", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            job()


class SyncDriver(Driver[Link, Visit], Generic[Link, Visit]):
    """A driver whose library blocks. Implement the four `*_blocking` methods.

    They are called in threads of one pool that all devices of the process share, never two
    at a time for one device. A call that outlives its `patience` cannot be stopped: its
    device stays unavailable until it returns, and it occupies its thread for so long.

    Attributes:
        workers: The pool; give a class its own to set another size.
    """

    workers: ClassVar[Workers] = Workers()
    _stuck: ClassVar[set[str]] = set()

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._running: Future[object] | None = None

    @abstractmethod
    def connect_blocking(self) -> None:
        """As `Driver.connect`."""

    @abstractmethod
    def read_blocking(self, visits: Sequence[Visit]) -> Sequence[Answer]:
        """As `Driver.read`."""

    @abstractmethod
    def write_blocking(self, visit: Visit, value: Value) -> None:
        """As `Driver.write`."""

    @abstractmethod
    def close_blocking(self) -> None:
        """As `Driver.close`."""

    async def connect(self) -> None:
        """Open the connection, in a thread."""
        if self._name in self._stuck:
            raise UnavailableError("an earlier call to the device has not returned yet")
        await self._in_thread(self.connect_blocking)

    async def read(self, visits: Sequence[Visit]) -> Sequence[Answer]:
        """Read everything that is due, in a thread."""
        return await self._in_thread(self.read_blocking, visits)

    async def write(self, visit: Visit, value: Value) -> None:
        """Write, in a thread."""
        await self._in_thread(self.write_blocking, visit, value)

    async def close(self) -> None:
        """Release everything; at once, or when a call that is stuck has returned."""
        running = self._running
        if running is None:
            return
        if running.done():
            await self._in_thread(self.close_blocking)
            return
        self._stuck.add(self._name)
        running.add_done_callback(self._close_at_last)

    def _close_at_last(self, _returned: "Future[object]") -> None:
        """Called in the thread whose call has returned."""
        try:
            self.close_blocking()
        finally:
            self._stuck.discard(self._name)

    @property
    def _name(self) -> str:
        """The same for every connection to one device."""
        return f"{type(self).__qualname__} {self.link.model_dump_json()}"

    async def _in_thread(
        self, call: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Result:
        future = self.workers.submit(call, *arguments)
        self._running = future  # type: ignore[assignment]  # Future is invariant, and only asked
        return await asyncio.wrap_future(future)
