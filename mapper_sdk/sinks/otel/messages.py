"""Readings as points and log records of the OpenTelemetry SDK, and requests of these."""

import re
from collections.abc import Mapping
from typing import Final

from google.protobuf.message import Message
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
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

from dmi.readings import QUALITIES, Quality, Reading
from mapper_sdk.delivery.sink import Route
from mapper_sdk.sinks.otel.settings import OtelPlace, OtelTarget
from mapper_sdk.sinks.payloads import Template

__all__ = ["Logs", "Metrics", "Way"]

_SCOPE: Final = InstrumentationScope("dmi-toolkit")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_./-]")
_LONGEST_NAME: Final = 255


class Way:
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


class Metrics:
    """Gauges of one request, by device, name and unit."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self._points: dict[str, dict[tuple[str, str], list[NumberDataPoint]]] = {}
        self._resources: dict[str, TelemetryResource] = {}

    def add(self, index: int, way: Way, reading: Reading, value: float) -> None:
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


class Logs:
    """Log records of one request."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self._records: list[ReadableLogRecord] = []

    def add(self, index: int, way: Way, reading: Reading) -> None:
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
