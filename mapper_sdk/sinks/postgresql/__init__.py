"""Readings in PostgreSQL, with TimescaleDB where it is."""

from mapper_sdk.sinks.postgresql.sink import PostgresqlSink, PostgresqlTarget

__all__ = ["PostgresqlSink", "PostgresqlTarget"]
