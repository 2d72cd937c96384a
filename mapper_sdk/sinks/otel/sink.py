"""OpenTelemetry: readings as OTLP over HTTP, numbers as gauges, the rest as log records.

Data points and log records are those of the OpenTelemetry SDK, filled by hand, and its own
encoders write them. Its periodic readers are not used, because they give each point the time
of the export, and a reading has its own. Its exporters are not used either: they repeat by
themselves, tell no more than success or failure, and so hide a partial success.

OTLP cannot tell a repetition apart: a batch whose answer was lost may arrive twice.
"""

import asyncio
import gzip
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import aiohttp
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from dmi.errors import DmiError, RefusedError, UnavailableError
from dmi.resources import PushOtel, Resource
from dmi.secret_refs import read_header_secret
from mapper_sdk.delivery.sink import Item, Sink
from mapper_sdk.sinks.http_answers import failure, status_error
from mapper_sdk.sinks.otel.messages import Logs, Metrics, Way
from mapper_sdk.sinks.otel.settings import Compression, Form, OtelPlace, OtelTarget
from mapper_sdk.sinks.tls import make_context

__all__ = ["OtelSink"]


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
        secrets = await asyncio.to_thread(self._secret_headers)
        context = await asyncio.to_thread(make_context, target.tls) if target.tls else True
        self._session = aiohttp.ClientSession(
            headers={**target.headers, **secrets, "Content-Type": "application/x-protobuf"},
            timeout=aiohttp.ClientTimeout(total=target.timeout),
            connector=aiohttp.TCPConnector(ssl=context),
        )

    def _secret_headers(self) -> dict[str, str]:
        headers = self.target.secret_headers
        return {name: read_header_secret(ref) for name, ref in headers.items()}

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

    def _sort(self, items: Sequence[Item[OtelPlace]]) -> tuple[Metrics, Logs]:
        metrics, logs = Metrics(), Logs()
        for index, (route, reading) in enumerate(items):
            way = route.cache
            if not isinstance(way, Way):
                way = route.cache = Way(route, self.target)
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
