"""The medium below the requests: when it may be used, and whom to trust at its other end."""

import asyncio
import ssl
import time
from contextlib import suppress

from dmi.errors import UnavailableError
from mappers.modbus.config import ModbusLink, Parity, Transport

__all__ = ["Pacing", "same_line", "seconds_on_line", "silent_interval", "tls_context"]


def _character_seconds(link: ModbusLink) -> float:
    """Time that one character takes on a serial line, its start bit included."""
    bits = 1 + link.data_bits + (link.parity is not Parity.NONE) + link.stop_bits
    return bits / link.baud_rate


def silent_interval(link: ModbusLink) -> float:
    """Seconds of silence that divide two frames; 0 where frames have marks of their own.

    Source:
        MODBUS over Serial Line V1.02, section 2.5.1.1: 3.5 characters, above 19200 bit/s
        1.75 ms.
    """
    if link.carrier is not Transport.RTU:
        return 0.0
    return 0.00175 if link.baud_rate > 19200 else 3.5 * _character_seconds(link)


def seconds_on_line(payload: int, link: ModbusLink) -> float:
    """Time that the characters of a request and its answer need; 0 but on serial lines.

    Args:
        payload: Bytes of data in both together.
        link: Speed and frames.
    """
    if not link.carrier.is_serial:
        return 0.0
    framing = 16
    characters = (framing + payload) * (2 if link.carrier is Transport.ASCII else 1)
    return characters * _character_seconds(link)


def same_line(one: ModbusLink, other: ModbusLink) -> bool:
    """Whether two units of one endpoint agree on how it is used."""
    names: tuple[str, ...] = ("baud_rate", "data_bits", "parity", "stop_bits", "local_echo")
    if one.carrier is Transport.TLS:
        names = ("ca_file", "cert_file", "key_file", "server_name", "verify")
    elif not one.carrier.is_serial:
        names = ()
    agreed = all(getattr(one, name) == getattr(other, name) for name in names)
    return agreed and one.carrier is other.carrier


def tls_context(link: ModbusLink) -> ssl.SSLContext:
    """Load certificates; reads files.

    Raises:
        UnavailableError: A file is missing or is no certificate; it may yet be put there.
    """
    try:
        context = ssl.create_default_context(cafile=link.ca_file)
        if link.cert_file is not None:
            context.load_cert_chain(link.cert_file, link.key_file)
    except OSError as error:
        files = ", ".join(filter(None, (link.ca_file, link.cert_file, link.key_file)))
        raise UnavailableError(f"{link.endpoint}: {files}: {error}") from error
    if not link.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
        late = self._late.get(unit, 0.0) - time.monotonic()
        if late > 0:
            self._stray.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(late):
                    await self._stray.wait()
        self._late.pop(unit, None)
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
        self.expect_late_until(unit, time.monotonic() + link.late_response_wait)

    def expect_late_until(self, unit: int, moment: float) -> None:
        """The same until a moment of the monotonic clock, as `late_until` gave it."""
        if not self._numbered and moment > time.monotonic():
            self._late[unit] = moment

    def late_until(self, unit: int) -> float:
        """When a late answer of this unit is not to be expected any more."""
        return self._late.get(unit, 0.0)

    def note_silence(self) -> bool:
        """Nobody answered; says whether the connection itself is to be suspected.

        The other end may be gone without a word, which only connecting again can show.
        """
        self._silences += 1
        return self._silences >= _SILENCES_UNTIL_SUSPECT
