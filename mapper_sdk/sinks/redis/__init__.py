"""Readings in Redis."""

from mapper_sdk.sinks.redis.settings import Layout, RedisPlace, RedisTarget
from mapper_sdk.sinks.redis.sink import RedisSink

__all__ = ["Layout", "RedisPlace", "RedisSink", "RedisTarget"]
