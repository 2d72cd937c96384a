"""Settings of a mapper process: a YAML file, then the environment, then flags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from dmi.logs import LogFormat, LogLevel
from dmi.settings import load_settings, settings_parser
from dmi.unix_socket import EDGECORE_SOCKET, MANAGER_SOCKET
from mapper_sdk.delivery.config import DeliveryConfig
from mapper_sdk.derived.config import DerivedConfig

__all__ = [
    "ENVIRONMENT_PREFIX",
    "MapperConfig",
    "Options",
    "load_config",
    "parse_options",
    "split_address",
]

ENVIRONMENT_PREFIX: Final = "DMI_MAPPER_"
"""`DMI_MAPPER_MANAGER_SOCKET` sets `managerSocket`, and so on."""


class MapperConfig(BaseModel):
    """What a mapper process needs to know. In YAML the names are in camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    name: str = Field(default="", description="Name of the mapper; by default PROTOCOL-mapper.")
    instance: str = Field(
        default="0",
        min_length=1,
        description="Tells several processes of one name apart; the same after a restart.",
    )
    protocol: str = Field(
        default="", description="Protocol name of the devices; by default the driver's own."
    )
    link: Literal["auto", "v1", "v1beta1", "files"] = Field(
        default="auto",
        description="How to talk to the manager. auto: files if devices are given, else the "
        "newest version that the socket answers.",
    )
    manager_socket: Path = Field(
        default=MANAGER_SOCKET,
        description=f"Socket of the device manager; for EdgeCore give {EDGECORE_SOCKET}.",
    )
    socket: Path | None = Field(
        default=None,
        description="Our own socket, which v1beta1 needs; by default NAME.sock beside the "
        "manager's.",
    )
    charset: Literal["withhold", "replace"] = Field(
        default="withhold",
        description="What to do on v1beta1 with values whose characters EdgeCore drops: hold "
        "them back, or replace each such byte, and #, by # and two hex digits.",
    )
    devices: Path | None = Field(
        default=None, description="File or folder of devices and models, for the link `files`."
    )
    rest: str = Field(
        default="127.0.0.1:7777",
        title="HOST:PORT",
        description="Where the REST API listens; port 0 takes a free one. `off` turns it off.",
    )
    rest_token_file: Path | None = Field(
        default=None,
        description="File with one token for everything, 16 characters at least, that REST "
        "clients must show. For several clients there is `restClients`.",
    )
    rest_clients: Path | None = Field(
        default=None,
        description="YAML file of REST clients and what each may do, made by `dmi token`; "
        "it is read again when it changes.",
    )
    rest_certificate: Path | None = Field(
        default=None, description="Our certificate and its chain, PEM: REST is HTTPS."
    )
    rest_key: Path | None = Field(default=None, description="Its key, PEM, without a password.")
    rest_client_ca: Path | None = Field(
        default=None,
        description="Who signs clients' certificates, PEM: clients must show one, and its "
        "name is theirs.",
    )
    rest_insecure: bool = Field(
        default=False,
        description="Let everybody in although REST can be reached from other machines.",
    )
    rest_rate: float | None = Field(
        default=None,
        ge=0,
        description="Requests a second that one REST client may make, 0 for any number; by "
        "default 2000, and any number where only this machine can ask.",
    )
    kubeedge_writes: bool = Field(
        default=False,
        description="Let clients of KubeEdge's mapper-framework write as they are used to: by GET.",
    )
    log_level: LogLevel = Field(default="info", description="Least severe lines that are logged.")
    log_format: LogFormat = Field(
        default="text", description="Form of log lines, on standard error: text or json."
    )
    grace: float = Field(
        default=5.0, ge=0, description="Seconds to deliver what is left when told to stop."
    )

    delivery: DeliveryConfig | None = Field(
        default=None,
        title="JSON",
        description="Sinks, and what Devices may push to: a block of the YAML file; as a flag or "
        "in the environment, JSON.",
    )
    history: Path | None = Field(
        default=None,
        description="SQLite file that keeps the past of all readings, for REST; none by default.",
    )
    history_days: float = Field(
        default=30.0, gt=0, description="How many days of the past are kept."
    )
    history_size: int = Field(
        default=1024,
        ge=1,
        description="How many MiB the file of the past may have; then the oldest goes.",
    )

    derived: DerivedConfig | None = Field(
        default=None,
        title="JSON",
        description="Where apps publish derived readings, besides REST: a block of the YAML file; "
        "as a flag or in the environment, JSON.",
    )

    @field_validator("delivery", "derived", mode="before")
    @classmethod
    def _is_block(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                return orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"must be JSON here: {error}") from error
        return value

    @field_validator("rest")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value != "off":
            split_address(value)
        return value


def split_address(address: str) -> tuple[str, int]:
    """Divide HOST:PORT; an IPv6 host stands in brackets.

    Raises:
        ValueError: It is not of that form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"must be HOST:PORT or off, not {address!r}")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        config: YAML file of settings.
        ready_json: Print one JSON line on standard output when serving has begun.
        flags: Settings by field name.
    """

    config: Path | None
    ready_json: bool
    flags: Mapping[str, str | None]


def parse_options(argv: Sequence[str], protocol: str) -> Options:
    """Read the command line; every setting is a flag too.

    Raises:
        SystemExit: With 0 after `--help`, with 2 for flags that do not exist.
    """
    description = f"Serve the {protocol} devices of this node until SIGTERM or SIGINT."
    parser = settings_parser(
        f"dmi mapper {protocol}", description, MapperConfig, prefix=ENVIRONMENT_PREFIX
    )
    found = vars(parser.parse_args(argv))
    return Options(found.pop("config"), found.pop("ready_json"), found)


def load_config(options: Options, environment: Mapping[str, str]) -> MapperConfig:
    """Put the settings together; later sources win.

    Raises:
        ConfigError: A setting is unknown or wrong, or the file cannot be read; the text
            says where it was given.
    """
    return load_settings(
        MapperConfig, options.config, environment, options.flags, prefix=ENVIRONMENT_PREFIX
    )
