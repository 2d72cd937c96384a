"""Settings of the InfluxDB sink: server and bucket, and how readings are named there."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from dmi.secret_refs import SecretRef
from mapper_sdk.delivery.sink import Settings
from mapper_sdk.sinks.addresses import base_url
from mapper_sdk.sinks.influxdb2.line_protocol import Precision
from mapper_sdk.sinks.payloads import checked_template
from mapper_sdk.sinks.tls import Tls

__all__ = ["Influxdb2Place", "Influxdb2Target", "QualityAs"]

_Name = Annotated[str, Field(min_length=1), AfterValidator(checked_template)]


class QualityAs(StrEnum):
    """How the quality of a reading is written."""

    FIELD = "field"
    TAG = "tag"
    NONE = "none"


class Influxdb2Target(Settings):
    """An InfluxDB 2 server and a bucket on it."""

    url: Annotated[str, AfterValidator(base_url)] = Field(
        description="Address of the server, as `http://localhost:8086`."
    )
    org: str = Field(default="", description="Name or ID of the organization.")
    bucket: str = Field(min_length=1, description="Name or ID of the bucket; it must exist.")
    token: SecretRef | None = Field(
        default=None, description="Where the API token is: `env:NAME` or `file:/path`."
    )
    precision: Precision = Field(
        default=Precision.US, description="Unit of times. Coarser ones make close readings one."
    )
    gzip: bool = Field(default=False, description="Compress requests.")
    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long one request may take.",
        json_schema_extra={"unit": "s"},
    )
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of a server with `https`."
    )


class Influxdb2Place(Settings):
    """How one property's readings are named."""

    measurement: _Name = Field(default="{model}", description="Template of the measurement's name.")
    field: _Name = Field(
        default="{property}", description="Template of the key of the field with the value."
    )
    tags: dict[str, _Name] = Field(
        default={},
        description="Tags, key to template, besides `namespace` and `device`, and `property` where"
        " neither measurement nor field names it.",
    )
    quality: QualityAs = Field(
        default=QualityAs.FIELD,
        description="`field`: in a field with `_quality` after its key (0 good, 1 uncertain,"
        " 2 bad). `tag`: as the tag `quality`. `none`: not at all; bad readings are left out.",
    )
