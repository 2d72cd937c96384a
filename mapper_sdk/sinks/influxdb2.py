"""InfluxDB 2, and what understands its write API: readings as lines over HTTP.

The client library carries the lines; it does not make them, because its Points cost eleven
times as much. A measurement is a model and a field is a property unless settings say
otherwise, so that each field has one type; readings of one device with one time that follow
each other become one line. InfluxDB keeps one value for each series, field and time: a batch
that is sent again changes nothing.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, cast

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from influxdb_client.service.ping_service import PingService
from pydantic import AfterValidator, Field

from dmi.errors import ConversionError, DmiError, RefusedError, UnavailableError
from dmi.readings import Quality, Reading
from dmi.resources import DbInfluxdb2, Resource
from dmi.secret_refs import SecretRef, read_secret
from mapper_sdk.delivery.sink import Item, Route, Settings, Sink
from mapper_sdk.sinks.addresses import base_url
from mapper_sdk.sinks.http_answers import failure, status_error
from mapper_sdk.sinks.line_protocol import (
    Precision,
    field_value,
    measurement_name,
    tag_or_key,
    unit_of,
)
from mapper_sdk.sinks.payloads import QUALITIES, Template, checked_template
from mapper_sdk.sinks.tls import Tls, make_context

__all__ = ["Influxdb2Place", "Influxdb2Sink", "Influxdb2Target", "QualityAs"]

_Name = Annotated[str, Field(min_length=1), AfterValidator(checked_template)]

_ROUNDS: Final = 16
_SHOWN: Final = 300
_REQUEST: Final = 2500  # lines, at most
# Readings written while the loop stands still. A request needs the loop a dozen times until it
# is on its way; only then does the server read while the next lines are written.
_SLICE: Final = 25


class QualityAs(StrEnum):
    """How the quality of a reading is written."""

    FIELD = "field"
    TAG = "tag"
    NONE = "none"


_FIELD: Final = QualityAs.FIELD
_NONE: Final = QualityAs.NONE
_GOOD: Final = Quality.GOOD  # looked up once, for there is one reading after the other


class Influxdb2Target(Settings):
    """An InfluxDB 2 server and a bucket on it."""

    url: Annotated[str, AfterValidator(base_url)] = Field(
        description="Address of the server, as `http://localhost:8086`."
    )
    org: str = Field(default="", description="Name or ID of the organization.")
    bucket: str = Field(min_length=1, description="Name or ID of the bucket; it must exist.")
    token: SecretRef | None = Field(
        default=None, description="Where the API token is: `env:NAME` or `file:/path`."
    )
    precision: Precision = Field(
        default=Precision.US, description="Unit of times. Coarser ones make close readings one."
    )
    gzip: bool = Field(default=False, description="Compress requests.")
    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long one request may take.",
        json_schema_extra={"unit": "s"},
    )
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of a server with `https`."
    )


class Influxdb2Place(Settings):
    """How one property's readings are named."""

    measurement: _Name = Field(default="{model}", description="Template of the measurement's name.")
    field: _Name = Field(
        default="{property}", description="Template of the key of the field with the value."
    )
    tags: dict[str, _Name] = Field(
        default={},
        description="Tags, key to template, besides `namespace` and `device`, and `property` where"
        " neither measurement nor field names it.",
    )
    quality: QualityAs = Field(
        default=QualityAs.FIELD,
        description="`field`: in a field with `_quality` after its key (0 good, 1 uncertain,"
        " 2 bad). `tag`: as the tag `quality`. `none`: not at all; bad readings are left out.",
    )


class _Series:
    """What is the same in all lines of one route."""

    __slots__ = ("after", "before", "heads", "quality", "reason")

    def __init__(self, route: Route[Influxdb2Place]) -> None:
        source, place = route.source, route.place
        measurement, field = Template(place.measurement), Template(place.field)
        key = field.fill(source, str)
        self.before = f"{tag_or_key(key)}="
        self.quality = f"{tag_or_key(f'{key}_quality')}=" if place.quality is _FIELD else ""
        self.after = f",{self.quality}{Quality.GOOD.value}i" if self.quality else ""
        self.reason = "" if place.quality is _NONE else f"{tag_or_key(f'{key}_reason')}="
        tags = {"namespace": source.device.namespace, "device": source.device.name}
        if "property" not in measurement.fields | field.fields:
            tags["property"] = source.property
        tags |= {key: Template(text).fill(source, str) for key, text in place.tags.items()}
        name = measurement_name(measurement.fill(source, str))
        self.heads = dict.fromkeys(Quality, _head(name, tags))
        if place.quality is QualityAs.TAG:
            for quality in Quality:
                self.heads[quality] = _head(name, {**tags, "quality": QUALITIES[quality]})

    def fields(self, reading: Reading) -> str:
        """What a line says of one reading; empty when it can say nothing."""
        if reading.quality is _GOOD and reading.value is not None:
            return f"{self.before}{field_value(reading.value)}{self.after}"
        fields = []
        if reading.value is not None:
            fields.append(self.before + field_value(reading.value))
        if self.quality:
            fields.append(f"{self.quality}{reading.quality.value}i")
        if self.reason and reading.reason:
            fields.append(self.reason + field_value(reading.reason))
        return ",".join(fields)


def _head(measurement: str, tags: Mapping[str, str]) -> str:
    # Sorted, because that is what the server would have to do.
    pairs = [f"{tag_or_key(key)}={tag_or_key(tags[key])}" for key in sorted(tags)]
    return ",".join([measurement, *pairs])


class _Lines:
    """Readings as lines, and which readings are in which line."""

    def __init__(self, precision: Precision, refused: dict[int, DmiError]) -> None:
        self.texts: list[str] = []
        self.refused = refused
        self._firsts: list[int] = []  # index of the first reading in each line
        self._end = 0
        self._unwritten: set[int] = set()  # those that there is nothing to write of
        self._unit = unit_of(precision)

    def add(self, items: Sequence[Item[Influxdb2Place]], first: int) -> None:
        """Write some more; neighbours with one series and time become one line.

        Args:
            items: The readings.
            first: Index of the first of them.
        """
        factor, scale = self._unit
        texts = self.texts
        head, line, moment = "", "", 0
        for index, (route, reading) in enumerate(items, first):
            try:
                series = route.cache
                if not isinstance(series, _Series):
                    series = route.cache = _Series(route)
                value, quality = reading.value, reading.quality
                if type(value) is float and value - value == 0 and quality is _GOOD:
                    # What most readings are: a number that is neither NaN nor infinite.
                    fields = f"{series.before}{value!r}{series.after}"
                else:
                    fields = series.fields(reading)
            except ConversionError as error:
                self.refused[index] = error
                continue
            if not fields:
                self._unwritten.add(index)
                continue
            its_head, when = series.heads[quality], round(reading.time * factor) * scale
            if when == moment and its_head == head:
                line = f"{line},{fields}"
                continue
            if line:
                texts.append(f"{head} {line} {moment}")
            head, line, moment = its_head, fields, when
            self._firsts.append(index)
        if line:
            texts.append(f"{head} {line} {moment}")
        self._end = first + len(items)

    def refuse(self, bad: Mapping[int, str]) -> None:
        """Take lines out, by their place, and note why for the readings in them."""
        ends = [*self._firsts[1:], self._end]
        for number in sorted(bad, reverse=True):
            error = RefusedError(bad[number])
            members = range(self._firsts.pop(number), ends[number])
            lost = (n for n in members if n not in self.refused and n not in self._unwritten)
            self.refused.update(dict.fromkeys(list(lost), error))
            del self.texts[number]


class Influxdb2Sink(Sink[Influxdb2Target, Influxdb2Place]):
    """Writes to one bucket."""

    kind: ClassVar[str] = "influxdb2"
    target_model = Influxdb2Target
    place_model = Influxdb2Place
    batch: ClassVar[int] = 10_000  # several requests, for one is written while another is read

    def __init__(self, target: Influxdb2Target) -> None:
        super().__init__(target)
        self._client: InfluxDBClientAsync | None = None

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `dbMethod.influxdb2`. What it leaves open has this sink's own default."""
        if not isinstance(declared, DbInfluxdb2):
            return super().pushed(declared)
        client, data = declared.influxdb2_client_config, declared.influxdb2_data_config
        target = {"url": client.url, "org": client.org, "bucket": client.bucket}
        place: dict[str, Any] = {
            "tags": {key: _literal(tag) for key, tag in data.tag.items() if tag}
        }
        if data.measurement:
            place["measurement"] = _literal(data.measurement)
        if data.field_key:
            place["field"] = _literal(data.field_key)
        return target, place

    async def open(self) -> None:
        """See `Sink.open`. Whether the token is good shows at the first write."""
        target = self.target
        token = read_secret(target.token) if target.token else ""
        context = await asyncio.to_thread(make_context, target.tls or Tls())
        self._client = InfluxDBClientAsync(
            url=target.url,
            token=token,
            org=target.org,
            timeout=round(target.timeout * 1000),
            enable_gzip=target.gzip,
            ssl_context=context,
            allow_redirects=False,  # the token goes to nobody else
        )
        try:
            # `ping` of the client itself hides why there is no answer.
            ping = PingService(self._client.api_client)  # type: ignore[no-untyped-call]
            await ping.get_ping_async()  # type: ignore[no-untyped-call]
        except ApiException as error:
            await self.close()
            raise _refusal(error) from error
        except (aiohttp.ClientError, OSError) as error:
            await self.close()
            raise failure(error) from error

    async def send(self, items: Sequence[Item[Influxdb2Place]]) -> Mapping[int, DmiError]:
        """See `Sink.send`. While the server reads some lines, the next ones are written."""
        refused: dict[int, DmiError] = {}
        problem: DmiError | None = None
        under_way: asyncio.Task[DmiError | None] | None = None
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(items), _REQUEST):
                lines = _Lines(self.target.precision, refused)
                for first in range(start, min(start + _REQUEST, len(items)), _SLICE):
                    lines.add(items[first : min(first + _SLICE, start + _REQUEST)], first)
                    await asyncio.sleep(0)
                if under_way is not None and (problem := await under_way) is not None:
                    break
                under_way = group.create_task(self._deliver(lines))
        if under_way is not None and (problem := problem or under_way.result()) is not None:
            raise problem
        return refused

    async def _deliver(self, lines: _Lines) -> DmiError | None:
        """Write lines; those that the server names as wrong are left out and noted.

        Returns:
            What is wrong with all of them, if anything is.
        """
        for _ in range(_ROUNDS):
            if not lines.texts:
                return None
            try:
                await self._write(lines.texts)
            except ApiException as error:
                bad = _bad_lines(error, lines.texts)
                if not bad:
                    return _refusal(error)
                # What else the server did with this request differs between its versions.
                lines.refuse(bad)
            except UnavailableError as error:
                return error
            except (aiohttp.ClientError, OSError) as error:
                return failure(error)
            else:
                return None
        return RefusedError("InfluxDB refuses line after line")

    async def _write(self, lines: Sequence[str]) -> None:
        if self._client is None:
            raise UnavailableError("not open")
        target = self.target
        # Bytes pass through the client as they are.
        body, precision = "\n".join(lines).encode(), cast("WritePrecision", target.precision.value)
        await self._client.write_api().write(target.bucket, target.org, body, precision)

    async def close(self) -> None:
        """See `Sink.close`."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]


def _literal(text: str) -> str:
    """A name of KubeEdge's, which is no template."""
    return text.replace("{", "{{").replace("}", "}}")


def _refusal(error: ApiException) -> DmiError:
    return status_error(error.status or 0, _message(error) or str(error.reason or ""))


def _message(error: ApiException) -> str:
    answer = _answer(error)
    return str(answer.get("message") or answer.get("error") or error.body or "")


def _answer(error: ApiException) -> dict[str, Any]:
    try:
        answer = json.loads(error.body or "")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _bad_lines(error: ApiException, lines: Sequence[str]) -> dict[int, str]:
    """Which lines the server named, and what it said of each.

    Source:
        InfluxDB OSS v2 writes `unable to parse 'LINE': WHY` into `message`; v3 answers a list
        `data` of `line_number` (from 1), `original_line` (shortened) and `error_message`.
    """
    if error.status not in (400, 422):
        return {}
    bad: dict[int, str] = {}
    listed = _answer(error).get("data")
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("line_number"), int):
            continue
        number, original = entry["line_number"] - 1, str(entry.get("original_line", ""))
        if 0 <= number < len(lines) and original and lines[number].startswith(original[:20]):
            bad[number] = str(entry.get("error_message", ""))[:_SHOWN]
    message = _message(error)
    if "unable to parse '" in message:
        for number, line in enumerate(lines):
            _, found, why = message.partition(f"unable to parse '{line}': ")
            if found:
                bad[number] = why.partition("\n")[0][:_SHOWN]
    return bad
