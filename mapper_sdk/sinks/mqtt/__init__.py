"""MQTT brokers."""

from mapper_sdk.sinks.mqtt.sink import MqttSink

__all__ = ["MqttSink"]
