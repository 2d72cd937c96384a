"""Settings of the OpenTelemetry sink: the receiver, and what readings become there."""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from dmi.secret_refs import SecretRefs
from mapper_sdk.delivery.sink import Settings
from mapper_sdk.sinks.addresses import base_url
from mapper_sdk.sinks.payloads import checked_template
from mapper_sdk.sinks.tls import Tls

__all__ = ["Compression", "Form", "OtelPlace", "OtelTarget"]

_SIGNAL: Final = re.compile(r"/v1/(metrics|logs|traces)$")
_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
_HeaderText = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]


class Form(StrEnum):
    """What a reading becomes."""

    METRIC = "metric"
    LOG = "log"


class Compression(StrEnum):
    """How requests are packed."""

    NONE = "none"
    GZIP = "gzip"


def _base(url: str) -> str:
    return _SIGNAL.sub("", base_url(url))


class OtelTarget(Settings):
    """An OTLP receiver, such as an OpenTelemetry Collector."""

    url: Annotated[str, AfterValidator(_base)] = Field(
        description="Address of the receiver, as `http://localhost:4318`; `/v1/metrics` and"
        " `/v1/logs` are added. KubeEdge: `endpointURL`.",
    )
    headers: dict[_HeaderName, _HeaderText] = Field(
        default={}, description="Sent with each request."
    )
    secret_headers: SecretRefs[_HeaderName] = Field(
        default={},
        description="The same, name to where the value is: `env:NAME` or `file:/path`.",
    )
    resource: dict[str, str] = Field(
        default={},
        description="Resource attributes besides `service.name` and `device.id`.",
    )
    compression: Compression = Field(
        default=Compression.NONE, description="How requests are packed."
    )
    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long one request may take.",
        json_schema_extra={"unit": "s"},
    )
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of a receiver with `https`."
    )


class OtelPlace(Settings):
    """What one property's readings become."""

    form: Form = Field(
        default=Form.METRIC,
        description="`metric`: numbers and booleans (as 0 and 1) are points of a gauge; text, bytes"
        " and bad readings, which a gauge cannot hold, are log records. `log`: all are.",
    )
    name: Annotated[str, Field(min_length=1), AfterValidator(checked_template)] = Field(
        default="{property}",
        description="Template of the name of gauge and event. What OpenTelemetry does not allow"
        " in names becomes `_`; the attribute `property` has it all.",
    )
    attributes: dict[str, Annotated[str, AfterValidator(checked_template)]] = Field(
        default={},
        description="Attributes, name to template, besides `namespace`, `device`, `property` and"
        " `model`.",
    )
