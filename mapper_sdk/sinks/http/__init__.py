"""Apps that take POST."""

from mapper_sdk.sinks.http.sink import HttpSink

__all__ = ["HttpSink"]
