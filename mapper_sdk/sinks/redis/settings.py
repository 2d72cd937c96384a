"""Settings of the Redis sink: the server, and what readings become there."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from dmi.secret_refs import SecretRef
from mapper_sdk.delivery.sink import Settings
from mapper_sdk.sinks.addresses import checked_address
from mapper_sdk.sinks.payloads import checked_template
from mapper_sdk.sinks.tls import Tls

__all__ = ["PORT", "Layout", "RedisPlace", "RedisTarget"]

PORT: Final = 6379


class Layout(StrEnum):
    """What a reading becomes in Redis."""

    STREAM = "stream"
    LATEST = "latest"
    PUBLISH = "publish"
    ZSET = "zset"


class RedisTarget(Settings):
    """A Redis server, version 6.2 or newer, and one of its databases. Not a cluster."""

    address: Annotated[str, AfterValidator(checked_address(PORT))] = Field(
        description="`HOST:PORT` of the server; port 6379 without one."
    )
    db: int = Field(default=0, ge=0, description="Number of the database.")
    username: str = Field(default="", description="Name of the ACL user; `default` without one.")
    password: SecretRef | None = Field(
        default=None, description="Where the password is: `env:NAME` or `file:/path`."
    )
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of a server that listens with TLS."
    )
    timeout: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="How long to wait for the server.",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _possible(self) -> "RedisTarget":
        if self.tls and self.tls.server_name:
            raise ValueError("redis: the client cannot check another name than the address's")
        return self


class RedisPlace(Settings):
    """What one property's readings become, and under which key."""

    layout: Layout = Field(
        default=Layout.STREAM,
        description="`stream`: an entry for each reading. `latest`: a hash that holds the newest."
        " `publish`: JSON to a channel. `zset`: KubeEdge's sorted set, JSON by time.",
    )
    key: Annotated[str, AfterValidator(checked_template)] = Field(
        default="",
        description="Template of the key or channel; without it"
        " `dmi:{namespace}:{device}:{property}`, for the hash `dmi:latest:...`, for KubeEdge's"
        " sorted set `{device}`.",
    )
    length: int = Field(
        default=10_000,
        ge=1,
        description="Entries that a stream (about) or a sorted set keeps; the oldest go first.",
    )
