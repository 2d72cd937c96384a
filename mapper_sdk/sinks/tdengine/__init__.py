"""Readings in TDengine."""

from mapper_sdk.sinks.tdengine.sink import TDenginePlace, TDengineSink, TDengineTarget

__all__ = ["TDenginePlace", "TDengineSink", "TDengineTarget"]
