import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import ConflictError, RefusedError
from mapper_sdk.rest import idempotency
from mapper_sdk.rest.idempotency import Repetitions


def request(key, path="/a"):
    headers = [(b"idempotency-key", key.encode())]
    return Request(
        {
            "type": "http",
            "method": "PUT",
            "path": path,
            "query_string": b"",
            "headers": headers,
            "scheme": "http",
            "server": ("h", 80),
        }
    )


class Acts:
    """Counts, and answers with so many bytes."""

    def __init__(self, size=1, status=200, begins=True):
        self.count = 0
        self._begins = begins
        self._size = size
        self._status = status

    async def __call__(self, attempt):
        self.count += 1
        if self._begins:
            attempt.begin()
        return Response(b"x" * self._size, self._status)


async def test_the_oldest_answers_go_first(monkeypatch):
    monkeypatch.setattr(idempotency, "MOST_KEPT", 2)
    kept, acts = Repetitions(), Acts()
    for key in ("a", "b", "c", "c", "b", "a"):
        await kept.once(request(key), b"", acts)
    assert acts.count == 4


async def test_large_answers_leave_less_room(monkeypatch):
    monkeypatch.setattr(idempotency, "_MOST_BYTES", 100)
    kept, acts = Repetitions(), Acts(size=60)
    for key in ("a", "a", "b", "b", "a"):
        await kept.once(request(key), b"", acts)
    assert acts.count == 3
    huge = Acts(size=500)
    for _ in range(2):
        await kept.once(request("huge"), b"", huge)
    assert huge.count == 2
    assert kept._bytes == 0


@pytest.mark.parametrize("status", [200, 502, 503, 504, 403])
@pytest.mark.parametrize("begins", [True, False])
async def test_only_what_may_have_done_something_is_kept(status, begins):
    kept, acts = Repetitions(), Acts(status=status, begins=begins)
    for _ in range(2):
        assert (await kept.once(request("a"), b"", acts)).status_code == status
    assert acts.count == (1 if begins else 2)


async def test_who_waited_for_a_request_that_came_to_nothing_makes_it():
    kept, go, tried = Repetitions(), asyncio.Event(), []

    async def act(attempt):
        tried.append(True)
        await go.wait()
        return Response(b"", 503 if len(tried) == 1 else 200)

    tasks = [asyncio.create_task(kept.once(request("a"), b"", act)) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    assert [task.status_code for task in await asyncio.gather(*tasks)] == [503, 200]


async def test_a_request_that_is_broken_off_is_made_again_by_who_waits():
    kept, begun = Repetitions(), asyncio.Event()

    async def endless(attempt):
        begun.set()
        await asyncio.Event().wait()

    first = asyncio.create_task(kept.once(request("a"), b"", endless))
    await begun.wait()
    acts = Acts()
    second = asyncio.create_task(kept.once(request("a"), b"", acts))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).status_code == 200
    assert acts.count == 1


async def test_an_error_is_an_answer_too():
    kept, count = Repetitions(), 0

    async def act(attempt):
        nonlocal count
        count += 1
        attempt.begin()
        raise RefusedError("locked")

    answers = [await kept.once(request("a"), b"", act) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [502, 502]
    assert count == 1
    with pytest.raises(ConflictError):
        await kept.once(request("a"), b"other", act)
