"""Readings to OpenTelemetry."""

from mapper_sdk.sinks.otel.settings import Form, OtelPlace, OtelTarget
from mapper_sdk.sinks.otel.sink import OtelSink

__all__ = ["Form", "OtelPlace", "OtelSink", "OtelTarget"]
