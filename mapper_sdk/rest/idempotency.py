"""Answers to requests with an `Idempotency-Key`: the same request again does nothing again."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import ConfigError, ConflictError, DmiError
from mapper_sdk.rest.answers import problem_answer
from mapper_sdk.rest.clients import client_of

__all__ = ["Attempt", "Repetitions"]

MOST_KEPT: Final = 1000
"""Answers; the oldest go first."""

_MOST_BYTES: Final = 16 * 1024 * 1024
_LONGEST_KEY: Final = 255
_HEADER: Final = "idempotency-key"


class Attempt:
    """How far a request has come.

    Attributes:
        begun: It takes effect now, or may: from then on it must not be done again.
    """

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """It is about to take effect."""
        self.begun = True


Act = Callable[[Attempt], Awaitable[Response]]
"""Does what a request asks for, and gives the answer."""


@dataclass(slots=True)
class _Kept:
    """A request and its answer, once there is one."""

    fingerprint: bytes
    answer: "asyncio.Future[Response | None]"
    size: int = 0


class Repetitions:
    """Remembers answers by client, address and key.

    Source:
        draft-ietf-httpapi-idempotency-key-header, section 2.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, str, str], _Kept] = OrderedDict()
        self._bytes = 0

    async def once(self, request: Request, body: bytes, act: Act) -> Response:
        """Act and give the answer; or give the one of the first time, without acting.

        A request that is repeated while the first is under way waits for its answer. The
        answer to one that came to an end before it began is not kept.

        Raises:
            ConfigError: The key is not of 1 to 255 visible characters.
            ConflictError: The key was used with another request.
        """
        key = request.headers.get(_HEADER)
        if key is None:
            return await act(Attempt())
        if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
            raise ConfigError(f"Idempotency-Key must be 1 to {_LONGEST_KEY} visible characters")
        place = (client_of(request.scope), request.method, request.url.path, key)
        fingerprint = sha256(request.scope["query_string"] + b"\n" + body).digest()
        while (known := self._kept.get(place)) is not None:
            if known.fingerprint != fingerprint:
                raise ConflictError("this Idempotency-Key was used with another request")
            # Shielded: whoever gives up must not cancel what the others wait for.
            answer = await asyncio.shield(known.answer)
            if answer is not None:
                return _again(answer)
        return await self._first(place, fingerprint, act)

    async def _first(
        self, place: tuple[str, str, str, str], fingerprint: bytes, act: Act
    ) -> Response:
        kept = _Kept(fingerprint, asyncio.get_running_loop().create_future())
        self._kept[place] = kept
        self._make_room()
        answer: Response | None = None
        attempt = Attempt()
        try:
            answer = await act(attempt)
        except DmiError as error:
            answer = problem_answer(error)
        finally:
            if answer is None or not attempt.begun:
                if self._kept.get(place) is kept:
                    del self._kept[place]
                kept.answer.set_result(None)
            else:
                kept.answer.set_result(answer)
                if self._kept.get(place) is kept:
                    kept.size = len(answer.body)
                    self._bytes += kept.size
                    self._make_room()
        return answer

    def _make_room(self) -> None:
        while len(self._kept) > MOST_KEPT or self._bytes > _MOST_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size


def _again(answer: Response) -> Response:
    headers = {"idempotent-replayed": "true"}
    if (tag := answer.headers.get("etag")) is not None:
        headers["etag"] = tag
    return Response(answer.body, answer.status_code, headers, media_type=answer.media_type)
