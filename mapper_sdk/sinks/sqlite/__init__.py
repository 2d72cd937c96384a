"""Readings in an SQLite file on the node: the embedded sink, and its past for REST."""

from mapper_sdk.sinks.sqlite.history import SqliteHistory
from mapper_sdk.sinks.sqlite.sink import SqliteSink, SqliteTarget

__all__ = ["SqliteHistory", "SqliteSink", "SqliteTarget"]
