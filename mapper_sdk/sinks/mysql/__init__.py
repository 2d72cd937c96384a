"""Readings in MariaDB and MySQL."""

from mapper_sdk.sinks.mysql.sink import MysqlSink, MysqlTarget

__all__ = ["MysqlSink", "MysqlTarget"]
