import asyncio
import logging
import socket as sockets
from random import Random

import pytest

from dmi.errors import UnavailableError
from mapper_sdk.link.patience import Patience
from mapper_sdk.sessions.backoff import Backoff

LOG = logging.getLogger("test")
GONE = UnavailableError("gone")


class Longest(Random):
    """No shortening of waits."""

    def random(self) -> float:
        return 1.0


@pytest.fixture
def path(socket_dir):
    return socket_dir / "m.sock"


@pytest.fixture
def patience(path, fake_clock) -> Patience:
    return Patience(path, Backoff(Longest(), first=1.0, longest=8.0), LOG, fake_clock)


@pytest.fixture
def wait_takes(patience, fake_clock):
    """Seconds that the next wait takes."""

    async def measure() -> float:
        begin = fake_clock.monotonic()
        task = asyncio.ensure_future(patience.wait())
        while not task.done():
            await fake_clock.advance(0.1)
        return round(fake_clock.monotonic() - begin, 1)

    return measure


async def test_waits_get_longer_and_are_said_once(patience, wait_takes, caplog):
    caplog.set_level("DEBUG")
    took = []
    for _ in range(5):
        patience.begin()
        patience.complain(GONE)
        took.append(await wait_takes())
    assert took == pytest.approx([1, 2, 4, 8, 8], abs=0.15)
    assert [r.levelname for r in caplog.records] == ["WARNING", *["DEBUG"] * 4]


async def test_after_working_for_long_it_is_quick_again(patience, wait_takes, fake_clock, caplog):
    for _ in range(3):
        patience.begin()
        patience.complain(GONE)
        await wait_takes()
    patience.begin()
    patience.worked("works")
    await fake_clock.advance(3)
    patience.complain(GONE)
    assert await wait_takes() == pytest.approx(1, abs=0.15)
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]


async def test_a_peer_that_breaks_off_at_once_is_not_hurried(patience, wait_takes):
    for expected in (1, 2, 4):
        patience.begin()
        patience.worked("works")
        patience.complain(GONE)
        assert await wait_takes() == pytest.approx(expected, abs=0.15)


async def test_another_socket_ends_the_wait(patience, wait_takes, path):
    for _ in range(3):
        patience.begin()
        patience.complain(GONE)
        await wait_takes()
    patience.begin()
    patience.complain(GONE)
    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(str(path))
        assert await wait_takes() == pytest.approx(0.1, abs=0.15)
        patience.begin()
        assert await wait_takes() > 1
