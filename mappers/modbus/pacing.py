"""When a unit may be asked: pauses that devices want, and answers that come too late."""

import asyncio
import time
from contextlib import suppress

from mappers.modbus.config import ModbusLink
from mappers.modbus.line import silent_interval

__all__ = ["Pacing"]

_SILENCES_UNTIL_SUSPECT = 3


class Pacing:
    """The times of one connection.

    Where answers carry no transaction number, a late one could pass for the answer to the next
    request: both name the same unit and function. So after a timeout nothing is asked of that
    unit until its late answer has come and gone, or is not to be expected any more.
    """

    def __init__(self, *, numbered: bool) -> None:
        self._numbered = numbered
        self._quiet_since = 0.0
        self._silences = 0
        self._late: dict[int, float] = {}
        self._stray = asyncio.Event()

    def awaits_late_answer(self, unit: int) -> bool:
        """Whether `wait` will listen for an answer that nobody wants any more."""
        return self._late.get(unit, 0.0) > time.monotonic()

    async def wait(self, unit: int, link: ModbusLink) -> None:
        """Return when this unit may be asked."""
        late = self._late.pop(unit, 0.0) - time.monotonic()
        if late > 0:
            self._stray.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(late):
                    await self._stray.wait()
        pause = max(link.pause_between_requests, silent_interval(link))
        rest = self._quiet_since + pause - time.monotonic()
        if rest > 0:
            await asyncio.sleep(rest)

    def note_end(self) -> None:
        """An exchange is over, well or not."""
        self._quiet_since = time.monotonic()

    def note_answer(self) -> None:
        """Somebody answered in time."""
        self._silences = 0

    def note_stray(self, unit: int) -> None:
        """An answer came that nobody waits for: it was late."""
        self._late.pop(unit, None)
        self._stray.set()

    def expect_late(self, unit: int, link: ModbusLink) -> None:
        """Nobody waits for this unit's answer any more, but it may still come."""
        if not self._numbered:
            self._late[unit] = time.monotonic() + link.late_response_wait

    def note_silence(self) -> bool:
        """Nobody answered; says whether the connection itself is to be suspected.

        The other end may be gone without a word, which only connecting again can show.
        """
        self._silences += 1
        return self._silences >= _SILENCES_UNTIL_SUSPECT
