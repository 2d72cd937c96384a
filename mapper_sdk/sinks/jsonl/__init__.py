"""Files of JSON lines."""

from mapper_sdk.sinks.jsonl.sink import JsonLinesSink

__all__ = ["JsonLinesSink"]
