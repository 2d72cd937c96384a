"""An OTLP/HTTP receiver of our own: it decodes by the official messages and keeps all."""

import gzip
import ssl

from aiohttp import web
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

from tests.servers.process import free_port


def attributes(pairs) -> dict[str, object]:
    """Attributes as a dictionary."""
    return {pair.key: any_value(pair.value) for pair in pairs}


def any_value(value):
    """The value in an AnyValue; None where there is none."""
    field = value.WhichOneof("value")
    return None if field is None else getattr(value, field)


class FakeReceiver:
    """Keeps points and records over `kill` and `start`.

    Attributes:
        points: (resource attributes, metric, point) of all gauges.
        records: (resource attributes, record) of all logs.
        answers: Given in turn instead of its own.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self._tls = tls
        self.points: list[tuple[dict[str, object], object, object]] = []
        self.records: list[tuple[dict[str, object], object]] = []
        self.requests: list[web.Request] = []
        self.answers: list[web.Response] = []
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        if self._runner is not None:
            return
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/metrics", self._metrics)
        app.router.add_post("/v1/logs", self._logs)
        self._runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()

    async def kill(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _body(self, request: web.Request) -> bytes:
        self.requests.append(request)
        assert request.content_type == "application/x-protobuf"
        data = await request.read()
        return gzip.decompress(data) if "Content-Encoding" in request.headers else data

    async def _metrics(self, request: web.Request) -> web.Response:
        data = await self._body(request)
        if self.answers:
            return self.answers.pop(0)
        for resource in metrics.ExportMetricsServiceRequest.FromString(data).resource_metrics:
            who = attributes(resource.resource.attributes)
            for scope in resource.scope_metrics:
                assert scope.scope.name == "dmi-toolkit"
                for metric in scope.metrics:
                    self.points += [(who, metric, point) for point in metric.gauge.data_points]
        return answer(metrics.ExportMetricsServiceResponse())

    async def _logs(self, request: web.Request) -> web.Response:
        data = await self._body(request)
        if self.answers:
            return self.answers.pop(0)
        for resource in logs.ExportLogsServiceRequest.FromString(data).resource_logs:
            who = attributes(resource.resource.attributes)
            for scope in resource.scope_logs:
                self.records += [(who, record) for record in scope.log_records]
        return answer(logs.ExportLogsServiceResponse())


def answer(message) -> web.Response:
    """A message as an answer."""
    return web.Response(
        body=message.SerializeToString(), headers={"Content-Type": "application/x-protobuf"}
    )
