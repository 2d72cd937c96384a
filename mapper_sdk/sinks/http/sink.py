"""The HTTP sink: readings posted to an app, each request with a key that makes repeating safe."""

import asyncio
import base64
import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from dmi.errors import (
    ConfigError,
    ConversionError,
    DmiError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)
from dmi.readings import Reading
from dmi.resources import PushHttp, Resource
from dmi.secret_refs import read_header_secret, read_secret
from dmi.values import format_value
from mapper_sdk.delivery.sink import Item, Route, Sink, Source
from mapper_sdk.sinks.http.settings import Body, HttpPlace, HttpTarget
from mapper_sdk.sinks.http_answers import failure, status_error
from mapper_sdk.sinks.http_repeats import Group, Kind, Repeats
from mapper_sdk.sinks.payloads import (
    Template,
    check_json,
    device_json,
    kubeedge_time,
    reading_object,
    url_segment,
)
from mapper_sdk.sinks.tls import Tls, make_context

__all__ = ["HttpSink"]

_MEDIA: Final[Mapping[Body, str]] = {
    "array": "application/json",
    "ndjson": "application/x-ndjson",
    "device": "application/json",
    "json": "application/json",
    "kubeedge": "application/x-www-form-urlencoded",
}
_READ: Final = 16 * 1024  # bytes of an answer; a longer one costs the connection
_OF_THE_PLACE: Final = frozenset({404, 405})
_LONGEST_PAUSE: Final = 300.0
_LEAST_PUSH_TIMEOUT: Final = 1.0


class HttpSink(Sink[HttpTarget, HttpPlace]):
    """Posts to one server, one request after the other, on a connection that is kept."""

    kind = "http"
    target_model = HttpTarget
    place_model = HttpPlace

    def __init__(self, target: HttpTarget) -> None:
        """Keep the settings; reach nobody yet."""
        super().__init__(target)
        self._session: aiohttp.ClientSession | None = None
        self._secrets: list[str] = []
        self._silent_until = 0.0
        self._repeats = Repeats()

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `pushMethod.http`.

        `hostName` may begin with http:// or https://; a port of 0 is the scheme's own. The
        CRD does not say the unit of `timeout`, and mapper-framework ignores it: it is taken as
        milliseconds, like its cycles, but never below a second.
        """
        if not isinstance(declared, PushHttp):
            return super().pushed(declared)
        port = f":{declared.port}" if declared.port else ""
        target: dict[str, Any] = {"url": f"{declared.host_name.rstrip('/')}{port}"}
        if declared.timeout > 0:
            target["timeout"] = max(_LEAST_PUSH_TIMEOUT, declared.timeout / 1000)
        return target, {"path": f"/{declared.request_path.lstrip('/')}"}

    async def open(self) -> None:
        """Read the secrets. The first request connects."""
        await self.close()
        headers, connector = await asyncio.to_thread(self._credentials), None
        if self.target.url.startswith("https:"):
            context = await asyncio.to_thread(make_context, self.target.tls or Tls())
            connector = aiohttp.TCPConnector(ssl=context)
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self.target.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def send(self, items: Sequence[Item[HttpPlace]]) -> Mapping[int, DmiError]:
        """Post all; those of a request that got no answer are to be sent again.

        Raises:
            ConfigError: Login, certificate or address are wrong; nothing is lost by that.
        """
        wait = self._silent_until - time.monotonic()
        if wait > 0:
            raise OverloadedError(f"the server has asked for silence for {wait:.0f} s more")
        failed: dict[int, DmiError] = {}
        groups = self._grouped(items, failed)
        problem = await self._repeat(self._repeats.unanswered(groups))
        groups, taken = self._repeats.divide(groups)
        try:
            await self._deliver_all(groups, problem, failed, taken)
        except (ConfigError, asyncio.CancelledError):
            self._repeats.note_taken(taken)
            raise
        return failed

    async def close(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # -------------------------------------------------------------- details ----

    def _credentials(self) -> dict[str, str]:
        target = self.target
        secret = {name: read_header_secret(ref) for name, ref in target.secret_headers.items()}
        self._secrets = list(secret.values())
        if target.token:
            token = read_header_secret(target.token)
            secret["Authorization"] = f"Bearer {token}"
            self._secrets.append(token)
        elif target.password:
            password = read_secret(target.password)
            login = base64.b64encode(f"{target.username}:{password}".encode()).decode()
            secret["Authorization"] = f"Basic {login}"
            self._secrets += [password, login]
        return {**target.headers, "User-Agent": "dmi-toolkit", **secret}

    def _shown(self, answer: str) -> str:
        """What a server says, without the secrets that it may repeat."""
        for secret in self._secrets:
            answer = answer.replace(secret, "***")
        return answer

    def _grouped(
        self, items: Sequence[Item[HttpPlace]], failed: dict[int, DmiError]
    ) -> list[Group]:
        """Divide a batch into requests, in the order of their first readings."""
        groups: dict[tuple[object, ...], list[tuple[int, Source, Reading]]] = {}
        for index, (route, reading) in enumerate(items):
            source, kind = route.source, self._kind(route)
            try:
                if kind[2] == "kubeedge":
                    if reading.value is None:
                        continue  # that form has no way to say so
                    format_value(reading.value, source.type)
                else:
                    check_json(source, reading)
            except ConversionError as error:
                failed[index] = error
                continue
            apart: object = None
            if kind[2] == "device":
                apart = source.device
            elif kind[2] in ("json", "kubeedge"):
                apart = index
            groups.setdefault((kind, apart), []).append((index, source, reading))
        return [Group(self._kind(items[group[0][0]][0]), group) for group in groups.values()]

    def _kind(self, route: Route[HttpPlace]) -> Kind:
        kind = route.cache
        if not isinstance(kind, tuple):
            place = route.place
            path = Template(place.path).fill(route.source, url_segment)
            kind = route.cache = (path, place.method, place.body or self.target.body)
        return kind

    async def _repeat(self, earlier: Sequence[Group]) -> DmiError | None:
        """Post requests again that got no answer; give what keeps all else from being sent."""
        for group in earlier:
            error = await self._post(group)
            if error is None:
                self._repeats.note_taken([group])
            elif _is_in_the_way(error):
                return error
        return None

    async def _deliver_all(
        self,
        groups: Sequence[Group],
        problem: DmiError | None,
        failed: dict[int, DmiError],
        taken: list[Group],
    ) -> None:
        """Post groups one after the other, while no problem is in the way of it.

        What is not taken is in `failed` afterwards, what is, in `taken`, too.

        Raises:
            ConfigError: Nothing can be sent until somebody has mended the settings.
        """
        for group in groups:
            if problem is None:
                problem = await self._deliver(group, failed, taken)
            else:
                failed.update((index, problem) for index, _, _ in group.items)
        if isinstance(problem, ConfigError):
            raise problem

    async def _deliver(
        self, group: Group, failed: dict[int, DmiError], taken: list[Group]
    ) -> DmiError | None:
        """Post a group, halved while the server refuses it; what it says no to is in `failed`.

        Returns:
            What keeps all that follows from being sent now.
        """
        left = [group]
        while left:
            part = left.pop()
            error = await self._post(part)
            if error is None:
                taken.append(part)
                continue
            if _is_in_the_way(error):
                rest = [part, *left]
                failed.update((index, error) for one in rest for index, _, _ in one.items)
                return error
            if len(part.items) > 1:
                left += reversed(part.halves)
            else:
                failed[part.items[0][0]] = error
        return None

    async def _post(self, group: Group) -> DmiError | None:
        if self._session is None:
            return UnavailableError("the sink is not open")
        self._repeats.begin(group)
        error = await self._ask(self._session, group)
        if error is None or not error.retryable:
            self._repeats.end(group)
        return error

    async def _ask(self, session: aiohttp.ClientSession, group: Group) -> DmiError | None:
        url, method, form = group.kind
        body = _body(form, group.items)
        key = hashlib.sha256(b"\n".join([method.encode(), url.encode(), body])).hexdigest()[:32]
        headers = {"Content-Type": _MEDIA[form], "Idempotency-Key": key}
        try:
            async with session.request(
                method,
                URL(self.target.url + url, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as response:
                text = b""
                while len(text) < _READ and (more := await response.content.read(_READ)):
                    text += more
                if not response.content.at_eof():
                    response.close()
        except (aiohttp.ClientError, OSError) as error:
            return failure(error)
        if 200 <= response.status < 300:
            return None
        self._heed(response.headers.get("Retry-After", ""))
        return _verdict(response.status, self._shown(text.decode(errors="replace")))

    def _heed(self, retry_after: str) -> None:
        """Ask nothing more until the time that the server has named."""
        with contextlib.suppress(ValueError):
            seconds = _pause(retry_after)
            self._silent_until = time.monotonic() + min(max(0.0, seconds), _LONGEST_PAUSE)


def _is_in_the_way(error: DmiError) -> bool:
    """Whether nothing else can be sent either."""
    return error.retryable or isinstance(error, ConfigError)


def _verdict(status: int, text: str) -> DmiError:
    """What an answer means here.

    A path that does not exist concerns one place: its readings are refused, and do not keep
    those of other places waiting.
    """
    error = status_error(status, text)
    return RefusedError(error.message) if status in _OF_THE_PLACE else error


def _pause(retry_after: str) -> float:
    """Read a Retry-After: seconds or a date. Raises ValueError for anything else."""
    if retry_after.isdecimal():
        return float(retry_after)
    moment = parsedate_to_datetime(retry_after)
    return (moment - datetime.now(moment.tzinfo or UTC)).total_seconds()


def _body(form: Body, items: Sequence[tuple[int, Source, Reading]]) -> bytes:
    if form == "device":
        return device_json([(source, reading) for _, source, reading in items])
    if form == "kubeedge":
        ((_, source, reading),) = items
        return _kubeedge_form(source, reading)
    objects = _objects(items)
    if form == "json":
        return orjson.dumps(next(objects))
    if form == "array":
        return orjson.dumps(list(objects))
    return b"".join(orjson.dumps(one) + b"\n" for one in objects)


def _objects(items: Sequence[tuple[int, Source, Reading]]) -> Iterator[dict[str, Any]]:
    return (reading_object(source, reading) for _, source, reading in items)


def _kubeedge_form(source: Source, reading: Reading) -> bytes:
    """What mapper-framework posts, but escaped as its media type asks for.

    Source:
        mapper-framework `data/publish/http`: PROPERTY=VALUE&time=2006-01-02 15:04:05.
    """
    if reading.value is None:
        raise ConversionError(f"{source.property}: no value")
    value = format_value(reading.value, source.type)
    return urlencode({source.property: value, "time": kubeedge_time(reading.time)}).encode()
