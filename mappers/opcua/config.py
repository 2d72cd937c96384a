"""The settings of OPC UA devices and of their properties, ours and KubeEdge's.

`python -m mappers.opcua.config docs/opcua.md` writes their tables into the manual.
"""

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from mapper_sdk.devices.spelling import SpelledSettings, to_integer, word_for
from mapper_sdk.settings_docs import render
from mappers.opcua.addresses import Address, parse_node_id
from mappers.opcua.visit import OpcuaVisit

__all__ = ["OpcuaLink", "OpcuaVisit", "SecurityMode", "SecurityPolicy", "render_tables"]


class SecurityPolicy(StrEnum):
    """Which cryptography protects a connection; the last words of the policies' URIs."""

    NONE = "None"
    BASIC256SHA256 = "Basic256Sha256"
    AES128 = "Aes128Sha256RsaOaep"
    AES256 = "Aes256Sha256RsaPss"


class SecurityMode(StrEnum):
    """What that cryptography does to messages."""

    NONE = "None"
    SIGN = "Sign"
    ENCRYPT = "SignAndEncrypt"


_POLICIES = {
    "": SecurityPolicy.NONE,
    "aes128sha256rsaoaep": SecurityPolicy.AES128,
    "aes128": SecurityPolicy.AES128,
    "aes256": SecurityPolicy.AES256,
}
_MODES = {"": SecurityMode.NONE, "encrypt": SecurityMode.ENCRYPT}
_NAMES = {
    "password": "passwordFile",
    "user": "userName",
    "endpoint": "url",
    # In the configuration file of KubeEdge's own mapper, where a device's are the others.
    "certificationfile": "certificate",
    "privatekeyfile": "privateKey",
    "remotecertificationfile": "remoteCertificate",
}
_IGNORED = frozenset(
    # KubeEdge's, for every protocol: a cut is mended here by other rules.
    {
        *("collecttimeout", "collectretrytimes", "collecttype", "reconntimeout"),
        *("reconnretrytimes", "commtype"),
    }
)

Seconds = Annotated[float, Field(gt=0, le=3600, json_schema_extra={"unit": "s"})]
Count = Annotated[int, BeforeValidator(to_integer)]


class OpcuaLink(SpelledSettings):
    """How a server is reached. Keys may be written in any case."""

    other_names = _NAMES
    ignored_names = _IGNORED

    url: str = Field(description="Address of the server, as `opc.tcp://192.168.10.5:4840`.")
    follow_endpoint: bool = Field(
        default=False,
        description="Connect where the server says that its endpoint is. Without it the host "
        "and port of `url` are kept whatever the server calls itself: a server behind NAT "
        "tells addresses that nobody outside can reach.",
    )
    security_policy: Annotated[
        SecurityPolicy | None, BeforeValidator(word_for(SecurityPolicy, _POLICIES))
    ] = Field(
        default=None,
        description="Cryptography. Without it: `None`, or where only `securityMode` is set the "
        "strongest that the server offers for that mode.",
    )
    security_mode: Annotated[
        SecurityMode | None, BeforeValidator(word_for(SecurityMode, _MODES))
    ] = Field(
        default=None,
        description="What is protected. Without it: `None`, or with a policy `SignAndEncrypt`.",
    )
    user_name: str | None = Field(
        default=None, min_length=1, description="User to log in as; anonymous without it."
    )
    password_file: str | None = Field(
        default=None,
        description="File that holds the user's password. KubeEdge: `password`, a path as well.",
    )
    user_certificate: str | None = Field(
        default=None, description="Certificate (PEM or DER file) to log in with, instead of a name."
    )
    user_private_key: str | None = Field(default=None, description="Its key (PEM or DER file).")
    certificate: str | None = Field(
        default=None,
        description="Our own certificate (PEM or DER file). Without it one is made at the first "
        "use, and kept in `pkiDir`.",
    )
    private_key: str | None = Field(default=None, description="Its key (PEM or DER file).")
    remote_certificate: str | None = Field(
        default=None, description="The server's certificate (PEM or DER file): it and no other."
    )
    trust_any_server: bool = Field(
        default=False,
        description="Accept every server's certificate. Protects from listeners, not from "
        "impostors.",
    )
    pki_dir: str | None = Field(
        default=None,
        min_length=1,
        description="Folder of our own certificate and of those that we trust, see Security. "
        "Without it `$XDG_STATE_HOME/dmi/opcua`, usually `~/.local/state/dmi/opcua`.",
    )
    application_uri: str | None = Field(
        default=None,
        min_length=1,
        description="Our own name; must be the one in `certificate`. Without it "
        "`urn:HOSTNAME:dmi:opcua`.",
    )
    timeout: Seconds = Field(default=4.0, description="How long to wait for an answer.")
    session_timeout: Seconds = Field(
        default=60.0,
        description="How long the server keeps our session when the connection is cut: within "
        "it no change is lost.",
    )
    recovery_time: Seconds = Field(
        default=5.0,
        description="How long a cut connection is mended before the devices count as offline.",
    )
    namespace_uri: str | None = Field(
        default=None,
        min_length=1,
        description="Namespace of methods and event sources that are named without one.",
    )
    publishing_interval: float = Field(
        default=500.0,
        ge=10,
        le=3_600_000,
        description="How often the server sends what has changed.",
        json_schema_extra={"unit": "ms"},
    )
    keep_alive: Seconds = Field(
        default=3.0,
        description="How often it says that it is there when nothing has changed. A "
        "subscription that is silent for one and a half times this is made anew.",
    )
    retry_refused: Seconds = Field(
        default=60.0, description="When an item that the server refused is tried again."
    )
    max_items: Count = Field(
        default=20_000,
        ge=1,
        description="Most items of a device in one session; more get further sessions.",
    )
    max_nodes_per_call: Count = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most nodes in one request. A lower limit of the server holds.",
    )
    object_id: str | None = Field(
        default=None,
        alias="objectID",
        min_length=1,
        description="Object whose methods the device offers, as a `nodeID`.",
    )
    event_source: str | None = Field(
        default=None,
        min_length=1,
        description="Object whose events, alarms and conditions the device has, as a `nodeID`; "
        "`i=2253` is the server itself. No events without it.",
    )

    event_type: str | None = Field(
        default=None,
        min_length=1,
        description="Only events of this type and of those derived from it, as a `nodeID`; its "
        "own fields come with them.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, data: Any) -> Any:  # noqa: ANN401 - raw settings
        if not isinstance(data, dict):
            return data
        # An empty text is what KubeEdge's samples have for "none".
        return {key: value for key, value in data.items() if value != ""}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        address = urlsplit(self.url)
        if address.scheme != "opc.tcp" or not address.hostname:
            raise ValueError(f"url must be opc.tcp://HOST:PORT, not {self.url!r}")
        if address.username is not None:
            raise ValueError("url must not hold a user: use `userName` and `passwordFile`")
        if (self.policy is SecurityPolicy.NONE) != (self.mode is SecurityMode.NONE):
            raise ValueError("securityPolicy and securityMode must both be None, or neither")
        pairs = (("certificate", "privateKey"), ("userCertificate", "userPrivateKey"))
        given = (
            (self.certificate, self.private_key),
            (self.user_certificate, self.user_private_key),
        )
        for names, (certificate, key) in zip(pairs, given, strict=True):
            if (certificate is None) != (key is None):
                raise ValueError(f"{names[0]} and {names[1]} go together")
        if self.user_name is None and self.password_file is not None:
            raise ValueError("passwordFile means nothing without userName")
        if self.user_name is not None and self.user_certificate is not None:
            raise ValueError("userName and userCertificate are two ways to log in; keep one")
        self.nodes  # noqa: B018 - a wrong one must be told now
        return self

    @cached_property
    def nodes(self) -> Mapping[str, Address]:
        """The nodes that the device itself names: `object`, `source`, `type`."""
        given = {"object": self.object_id, "source": self.event_source, "type": self.event_type}
        if self.event_type is not None and self.event_source is None:
            raise ValueError("eventType means nothing without eventSource")
        space = self.namespace_uri or 0
        return {name: parse_node_id(text, space) for name, text in given.items() if text}

    @property
    def policy(self) -> SecurityPolicy | None:
        """The policy; None for the strongest that the server has."""
        if self.security_policy is None and self.security_mode in {None, SecurityMode.NONE}:
            return SecurityPolicy.NONE
        return self.security_policy

    @property
    def mode(self) -> SecurityMode:
        """The mode, chosen by the policy where it is not written."""
        if self.security_mode is not None:
            return self.security_mode
        plain_text = self.security_policy in {None, SecurityPolicy.NONE}
        return SecurityMode.NONE if plain_text else SecurityMode.ENCRYPT

    @property
    def address(self) -> str:
        """The URL with a port. Source: 4840 is registered at IANA as opcua-tcp."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
        return f"opc.tcp://{host}:{parts.port or 4840}{parts.path}"

    @property
    def pki(self) -> Path:
        """Folder of certificates."""
        if self.pki_dir is not None:
            return Path(self.pki_dir)
        state = os.environ.get("XDG_STATE_HOME")
        return (Path(state) if state else Path.home() / ".local" / "state") / "dmi" / "opcua"

    @property
    def session_key(self) -> tuple[object, ...]:
        """What two devices must have in common to share a session."""
        return (
            *(self.address, self.follow_endpoint, self.policy, self.mode, self.user_name),
            *(self.password_file, self.user_certificate, self.user_private_key),
            *(self.certificate, self.private_key, self.remote_certificate),
            *(self.trust_any_server, str(self.pki), self.application_uri),
            *(self.timeout, self.session_timeout, self.recovery_time, self.max_nodes_per_call),
        )


def render_tables(document: str) -> str:
    """Put the tables of settings into docs/opcua.md."""
    return render(document, {"device": OpcuaLink, "property": OpcuaVisit})


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(render_tables(page.read_text()))
