"""OpenTelemetry: readings as OTLP over HTTP, numbers as gauges, the rest as log records.

Data points and log records are those of the OpenTelemetry SDK, filled by hand, and its own
encoders write them. Its periodic readers are not used, because they give each point the time
of the export, and a reading has its own. Its exporters are not used either: they repeat by
themselves, tell no more than success or failure, and so hide a partial success.

OTLP cannot tell a repetition apart: a batch whose answer was lost may arrive twice.
"""

import asyncio
import gzip
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import aiohttp
from google.protobuf.message import DecodeError, Message
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource as TelemetryResource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from pydantic import AfterValidator, Field

from dmi.errors import DmiError, RefusedError, UnavailableError
from dmi.readings import Quality, Reading
from dmi.resources import PushOtel, Resource
from dmi.secret_refs import SecretRef, read_secret
from mapper_sdk.delivery.sink import Item, Route, Settings, Sink
from mapper_sdk.sinks.addresses import base_url
from mapper_sdk.sinks.http_answers import failure, status_error
from mapper_sdk.sinks.payloads import QUALITIES, Template, checked_template
from mapper_sdk.sinks.tls import Tls, make_context

__all__ = ["Form", "OtelPlace", "OtelSink", "OtelTarget"]

_SCOPE: Final = InstrumentationScope("dmi-toolkit")
_SIGNAL: Final = re.compile(r"/v1/(metrics|logs|traces)$")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_./-]")
_LONGEST_NAME: Final = 255

_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
_HeaderText = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]


class Form(StrEnum):
    """What a reading becomes."""

    METRIC = "metric"
    LOG = "log"


class Compression(StrEnum):
    """How requests are packed."""

    NONE = "none"
    GZIP = "gzip"


def _base(url: str) -> str:
    return _SIGNAL.sub("", base_url(url))


class OtelTarget(Settings):
    """An OTLP receiver, such as an OpenTelemetry Collector."""

    url: Annotated[str, AfterValidator(_base)] = Field(
        description="Address of the receiver, as `http://localhost:4318`; `/v1/metrics` and"
        " `/v1/logs` are added. KubeEdge: `endpointURL`.",
    )
    headers: dict[_HeaderName, _HeaderText] = Field(
        default={}, description="Sent with each request."
    )
    secret_headers: dict[_HeaderName, SecretRef] = Field(
        default={},
        description="The same, name to where the value is: `env:NAME` or `file:/path`.",
    )
    resource: dict[str, str] = Field(
        default={},
        description="Resource attributes besides `service.name` and `device.id`.",
    )
    compression: Compression = Field(
        default=Compression.NONE, description="How requests are packed."
    )
    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long one request may take.",
        json_schema_extra={"unit": "s"},
    )
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of a receiver with `https`."
    )


class OtelPlace(Settings):
    """What one property's readings become."""

    form: Form = Field(
        default=Form.METRIC,
        description="`metric`: numbers and booleans (as 0 and 1) are points of a gauge; text, bytes"
        " and bad readings, which a gauge cannot hold, are log records. `log`: all are.",
    )
    name: Annotated[str, Field(min_length=1), AfterValidator(checked_template)] = Field(
        default="{property}",
        description="Template of the name of gauge and event. What OpenTelemetry does not allow"
        " in names becomes `_`; the attribute `property` has it all.",
    )
    attributes: dict[str, Annotated[str, AfterValidator(checked_template)]] = Field(
        default={},
        description="Attributes, name to template, besides `namespace`, `device`, `property` and"
        " `model`.",
    )


class _Way:
    """What is the same for all readings of one route."""

    __slots__ = ("attributes", "form", "name", "resource", "unit")

    def __init__(self, route: Route[OtelPlace], target: OtelTarget) -> None:
        source, place = route.source, route.place
        self.form = place.form
        name = Template(place.name).fill(source, str)
        self.name = _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME]
        self.unit = source.unit
        self.attributes = {
            "namespace": source.device.namespace,
            "device": source.device.name,
            "property": source.property,
            "model": source.model,
        }
        for key, text in place.attributes.items():
            self.attributes[key] = Template(text).fill(source, str)
        identity = {"service.name": "dmi-mapper", "device.id": str(source.device)}
        self.resource = TelemetryResource({**identity, **target.resource})

    def all_attributes(self, reading: Reading) -> Mapping[str, str]:
        """Those of the route, and what is wrong with this reading where something is."""
        if reading.quality is Quality.GOOD:
            return self.attributes
        doubt = {"quality": QUALITIES[reading.quality], "reason": reading.reason}
        return {**self.attributes, **doubt}


def _nanoseconds(reading: Reading) -> int:
    # Seconds in 64 bits are exact to a quarter of a microsecond; more digits mean nothing.
    return round(reading.time * 1e6) * 1000


class _Metrics:
    """Gauges of one request, by device, name and unit."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self._points: dict[str, dict[tuple[str, str], list[NumberDataPoint]]] = {}
        self._resources: dict[str, TelemetryResource] = {}

    def add(self, index: int, way: _Way, reading: Reading, value: float) -> None:
        """Put one reading in."""
        device = str(way.resource.attributes["device.id"])
        self._resources[device] = way.resource
        gauges = self._points.setdefault(device, {})
        moment = _nanoseconds(reading)
        point = NumberDataPoint(way.all_attributes(reading), moment, moment, value)
        gauges.setdefault((way.name, way.unit), []).append(point)
        self.indexes.append(index)

    def request(self) -> Message:
        """All of them as a request."""
        found = []
        for device, gauges in self._points.items():
            metrics = [Metric(name, "", unit, Gauge(all_)) for (name, unit), all_ in gauges.items()]
            scope = ScopeMetrics(_SCOPE, metrics, "")
            found.append(ResourceMetrics(self._resources[device], [scope], ""))
        return encode_metrics(MetricsData(found))


class _Logs:
    """Log records of one request."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self._records: list[ReadableLogRecord] = []

    def add(self, index: int, way: _Way, reading: Reading) -> None:
        """Put one reading in."""
        moment = _nanoseconds(reading)
        good = reading.quality is Quality.GOOD
        attributes = {**way.all_attributes(reading), "unit": way.unit}
        record = LogRecord(
            timestamp=moment,
            observed_timestamp=moment,
            severity_number=SeverityNumber.INFO if good else SeverityNumber.WARN,
            body=reading.value,
            attributes=attributes,
            event_name=way.name,
        )
        self._records.append(ReadableLogRecord(record, way.resource, _SCOPE))
        self.indexes.append(index)

    def request(self) -> Message:
        """All of them as a request."""
        return encode_logs(self._records)


class _Verdict(NamedTuple):
    """What a receiver said of a request that it took."""

    rejected: int
    message: str


class OtelSink(Sink[OtelTarget, OtelPlace]):
    """Sends to one receiver; a batch is one request of each kind, at most."""

    kind: ClassVar[str] = "otel"
    target_model = OtelTarget
    place_model = OtelPlace

    def __init__(self, target: OtelTarget) -> None:
        super().__init__(target)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `pushMethod.otel`."""
        if not isinstance(declared, PushOtel):
            return super().pushed(declared)
        url = declared.endpoint_url
        return {"url": url if "://" in url else f"http://{url}"}, {}

    async def open(self) -> None:
        """See `Sink.open`. OTLP has nothing to ask: whether anybody is there shows at `send`."""
        target = self.target
        secrets = {name: read_secret(ref) for name, ref in target.secret_headers.items()}
        context = await asyncio.to_thread(make_context, target.tls) if target.tls else True
        self._session = aiohttp.ClientSession(
            headers={**target.headers, **secrets, "Content-Type": "application/x-protobuf"},
            timeout=aiohttp.ClientTimeout(total=target.timeout),
            connector=aiohttp.TCPConnector(ssl=context),
        )

    async def send(self, items: Sequence[Item[OtelPlace]]) -> Mapping[int, DmiError]:
        """See `Sink.send`.

        A receiver says how many of a request it rejected, but not which: as many of the last
        ones are told as refused, and none is sent again, as the specification wants.
        """
        metrics, logs = self._sort(items)
        failed: dict[int, DmiError] = {}
        if metrics.indexes:
            request = metrics.request()
            verdict = await self._post("/v1/metrics", request, ExportMetricsServiceResponse())
            _note(failed, metrics.indexes, verdict)
        if logs.indexes:
            try:
                request = logs.request()
                verdict = await self._post("/v1/logs", request, ExportLogsServiceResponse())
            except DmiError as error:
                if not metrics.indexes:
                    raise
                # The gauges have arrived: the log records alone come again, to be judged.
                again = error if error.retryable else UnavailableError(str(error))
                return {**failed, **dict.fromkeys(logs.indexes, again)}
            _note(failed, logs.indexes, verdict)
        return failed

    def _sort(self, items: Sequence[Item[OtelPlace]]) -> tuple[_Metrics, _Logs]:
        metrics, logs = _Metrics(), _Logs()
        for index, (route, reading) in enumerate(items):
            way = route.cache
            if not isinstance(way, _Way):
                way = route.cache = _Way(route, self.target)
            value = reading.value
            if way.form is Form.METRIC and isinstance(value, (int, float)):
                metrics.add(
                    index, way, reading, int(value) if value is True or value is False else value
                )
            else:
                logs.add(index, way, reading)
        return metrics, logs

    async def _post(
        self,
        path: str,
        request: Message,
        answer: ExportMetricsServiceResponse | ExportLogsServiceResponse,
    ) -> _Verdict:
        if self._session is None:
            raise UnavailableError("not open")
        body, headers = request.SerializeToString(), {}
        if self.target.compression is Compression.GZIP:
            body, headers = gzip.compress(body, 1), {"Content-Encoding": "gzip"}
        try:
            async with self._session.post(
                self.target.url + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                said = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise failure(error) from error
        if not 200 <= response.status < 300:
            raise status_error(response.status, said.decode("utf-8", "replace"))
        return _verdict(said, answer)

    async def close(self) -> None:
        """See `Sink.close`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _verdict(
    said: bytes, answer: ExportMetricsServiceResponse | ExportLogsServiceResponse
) -> _Verdict:
    try:
        answer.ParseFromString(said)
    except DecodeError:
        return _Verdict(0, "")  # it took the request; what else it says is not OTLP
    if isinstance(answer, ExportMetricsServiceResponse):
        part = answer.partial_success
        return _Verdict(part.rejected_data_points, part.error_message)
    return _Verdict(
        answer.partial_success.rejected_log_records, answer.partial_success.error_message
    )


def _note(failed: dict[int, DmiError], indexes: Sequence[int], verdict: _Verdict) -> None:
    count = min(verdict.rejected, len(indexes))
    if count:
        text = f"the receiver rejected {count} of {len(indexes)}: {verdict.message[:300]}"
        failed.update(dict.fromkeys(indexes[-count:], RefusedError(text)))
