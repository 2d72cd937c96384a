"""Settings of the HTTP sink: the server, and where and in which form readings are posted."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from dmi.secret_refs import SecretRef, SecretRefs
from mapper_sdk.delivery.sink import Settings
from mapper_sdk.sinks.addresses import split_url
from mapper_sdk.sinks.payloads import checked_template
from mapper_sdk.sinks.tls import Tls

__all__ = ["Body", "HttpPlace", "HttpTarget"]

Body = Literal["array", "ndjson", "device", "json", "kubeedge"]

_PORTS: Final = {"http": 80, "https": 443}
_PATH: Final = re.compile(r"/[!-~]*")
_LONGEST_PATH: Final = 2048  # most servers refuse more than 8 KiB, with what is filled in
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN: Final = frozenset({"content-type", "content-length", "host", "idempotency-key"})


def _canonical(text: str) -> str:
    parts = split_url(text if "://" in text else f"http://{text}")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT")
    if "@" in parts.netloc:
        raise ValueError("a name or password does not belong here: use username and password")
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path or "/"):
        raise ValueError("has something after the path, or a path that is not printable ASCII")
    port = parts.port or _PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def _path(text: str) -> str:
    checked_template(text)
    if len(text) > _LONGEST_PATH:
        raise ValueError(f"a path has at most {_LONGEST_PATH} characters here")
    if not _PATH.fullmatch(text) or "#" in text:
        raise ValueError("a path begins with / and is printable ASCII without blanks and #")
    return text


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OWN:
            raise ValueError(f"{name!r} is no name of a header that can be set")
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise ValueError(f"the value of {name} has control characters in it")
    return headers


class HttpTarget(Settings):
    """A server that readings are posted to."""

    url: Annotated[str, AfterValidator(_canonical)] = Field(
        description="`http://HOST:PORT` or `https://HOST:PORT`, and what all paths begin with."
    )
    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long a request may take until it is answered.",
        json_schema_extra={"unit": "s"},
    )
    body: Body = Field(
        default="array", description="Form of requests where a place, or a Device, says none."
    )
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default={}, description="Headers that each request has."
    )
    secret_headers: Annotated[SecretRefs[str], AfterValidator(_headers)] = Field(
        default={},
        description="The same with secret values, such as API keys: header to reference.",
    )
    token: SecretRef | None = Field(
        default=None, description="Where the bearer token is: `env:NAME` or `file:/path`."
    )
    username: str = Field(default="", description="Name for basic authentication.")
    password: SecretRef | None = Field(default=None, description="Where its password is.")
    tls: Tls | None = Field(
        default=None, description="TLS, where the URL is https; see [TLS](#tls)."
    )

    @model_validator(mode="after")
    def _fits(self) -> "HttpTarget":
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password belong together")
        if self.token and self.username:
            raise ValueError("a token, and a username: one of the two")
        if self.tls and not self.url.startswith("https:"):
            raise ValueError("tls, but the URL is http")
        return self


class HttpPlace(Settings):
    """Where and in which form readings are posted."""

    path: Annotated[str, AfterValidator(_path)] = Field(
        default="/",
        description="May have `{namespace}`, `{device}`, `{property}`, `{model}`, `{label:NAME}` "
        "in it; each set of names gets requests of its own.",
    )
    method: Literal["POST", "PUT"] = Field(default="POST", description="Of the requests.")
    body: Body | None = Field(
        default=None,
        description="A JSON `array` of readings, the same as `ndjson`, one `device` with its "
        "readings, one reading as `json`, or one as `kubeedge` has it; without it, as the target "
        "says.",
    )
