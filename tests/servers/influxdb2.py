"""InfluxDB 2's write API as its documentation has it, for want of a server of that kind.

It reads line protocol more strictly than the real one: by characters, not by the writer's
own rules, and it refuses whatever the reference does not allow.
"""

import gzip
import re
import ssl
from collections import defaultdict
from dataclasses import dataclass, field

from aiohttp import web

from tests.servers.process import free_port

_INT = re.compile(r"-?\d+i")
_FLOAT = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_UNITS = {"ms": 1e3, "us": 1e6, "ns": 1e9}

Tags = tuple[tuple[str, str], ...]
Field = int | float | bool | str


@dataclass
class Bucket:
    """What was written: one value for each series, field and time, as InfluxDB keeps it."""

    points: dict[tuple[str, Tags, str], dict[float, Field]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    types: dict[tuple[str, str], type] = field(default_factory=dict)

    def of(self, measurement: str, key: str, **tags: str) -> dict[float, Field]:
        """Give the values of a field in all series that have these tags and no others."""
        return self.points.get((measurement, tuple(sorted(tags.items())), key), {})


class FakeInflux:
    """One organization `plant`, one bucket `readings`, one token `t0ken`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self._tls = tls
        self.bucket = Bucket()
        self.requests: list[web.Request] = []
        self.bodies: list[str] = []
        self.answers: list[web.Response] = []  # given in turn instead of its own
        self.largest = 10_000_000
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        if self._runner is not None:
            return
        app = web.Application(client_max_size=self.largest * 2)
        app.router.add_get("/ping", self._ping)
        app.router.add_post("/api/v2/write", self._write)
        self._runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()

    async def kill(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _ping(self, _: web.Request) -> web.Response:
        return self.answers.pop(0) if self.answers else web.Response(status=204)

    async def _write(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        data = await request.read()
        if len(data) > self.largest:
            return _error(413, "request too large", "too big a body")
        if self.answers:
            return self.answers.pop(0)
        if request.headers.get("Authorization") != "Token t0ken":
            return _error(401, "unauthorized", "unauthorized access")
        if request.query.get("org") != "plant" or request.query.get("bucket") != "readings":
            return _error(404, "not found", 'bucket "x" not found')
        if request.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        body = data.decode()
        self.bodies.append(body)
        return self._take(body, _UNITS[request.query["precision"]])

    def _take(self, body: str, unit: float) -> web.Response:
        points, complaints = [], []
        for line in split(body, "\n", quotes=True):
            try:
                points.append(parse(line))
            except ValueError as error:
                complaints.append(f"unable to parse '{line}': {error}")
        if complaints:
            return _error(400, "invalid", "\n".join(complaints))
        for measurement, _, fields, _ in points:
            for key, value in fields.items():
                known = self.bucket.types.setdefault((measurement, key), type(value))
                if known is not type(value):
                    text = f'partial write: field type conflict: input field "{key}" dropped=1'
                    return _error(422, "unprocessable entity", text)
        for measurement, tags, fields, moment in points:
            for key, value in fields.items():
                self.bucket.points[measurement, tags, key][moment / unit] = value
        return web.Response(status=204)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)


def parse(line: str) -> tuple[str, Tags, dict[str, Field], int]:
    """Read one line, or raise ValueError with what is wrong."""
    parts = split(line, " ", quotes=True)
    if len(parts) != 3:
        raise ValueError(f"{len(parts)} parts")
    head, body, moment = parts
    if head.startswith("#"):
        raise ValueError("a comment")
    measurement, *pairs = split(head, ",")
    tags = [_pair(pair) for pair in pairs]
    if tags != sorted(tags) or len({key for key, _ in tags}) != len(tags):
        raise ValueError("tags are not sorted, or doubled")
    fields = {}
    for pair in split(body, ",", quotes=True, fields=True):
        key, text = _cut(pair)
        if key in fields:
            raise ValueError("a doubled field")
        fields[key] = _value(text)
    return _name(measurement), tuple(tags), fields, int(moment)


def split(text: str, at: str, *, quotes: bool = False, fields: bool = False) -> list[str]:
    """Cut where a separator stands that is neither escaped nor, if asked, in quotes.

    A quote opens only right after the `=` of a field; `fields` says that the text has no head.
    """
    parts, current, quoted, skip, opens = [], "", False, False, False
    for letter in text:
        begins = opens and quotes and fields
        opens = False
        if skip:
            skip = False
        elif letter == "\\":
            skip = True
        elif letter == '"' and (quoted or begins):
            quoted = not quoted
        elif letter == at and not quoted:
            fields = fields or at == " "
            parts.append(current)
            current = ""
            continue
        else:
            fields = fields or letter == " "
            opens = letter == "=" and not quoted
        current += letter
    if quoted or skip:
        raise ValueError("an open quote or escape")
    return [*parts, current]


def _cut(pair: str) -> tuple[str, str]:
    key, *rest = split(pair, "=")
    if not rest:
        raise ValueError("no value")
    return _name(key), pair[len(key) + 1 :]


def _pair(text: str) -> tuple[str, str]:
    key, value = _cut(text)
    return key, _name(value)


def _name(text: str) -> str:
    if not text or "\n" in text:
        raise ValueError("an empty or broken name")
    return re.sub(r"\\([,= ])", r"\1", text)


def _value(text: str) -> Field:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if _INT.fullmatch(text) and -(2**63) <= int(text[:-1]) < 2**63:
        return int(text[:-1])
    if _FLOAT.fullmatch(text):
        return float(text)
    raise ValueError(f"invalid field format {text}")
