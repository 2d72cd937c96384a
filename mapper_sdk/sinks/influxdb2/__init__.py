"""Readings in InfluxDB 2, and in what understands its write API."""

from mapper_sdk.sinks.influxdb2.settings import Influxdb2Place, Influxdb2Target, QualityAs
from mapper_sdk.sinks.influxdb2.sink import Influxdb2Sink

__all__ = ["Influxdb2Place", "Influxdb2Sink", "Influxdb2Target", "QualityAs"]
