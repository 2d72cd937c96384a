"""Settings of a mapper process: a YAML file, then the environment, then flags."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from dmi.errors import ConfigError
from dmi.manifests.wording import fault_of

__all__ = [
    "ENVIRONMENT_PREFIX",
    "MapperConfig",
    "Options",
    "load_config",
    "parse_options",
    "split_address",
]

ENVIRONMENT_PREFIX = "DMI_MAPPER_"
"""`DMI_MAPPER_MANAGER_SOCKET` sets `managerSocket`, and so on."""

_FLAG_KINDS: Mapping[str, str] = MappingProxyType({"rest": "HOST:PORT"})


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
        default=Path("/etc/kubeedge/dmi.sock"),
        description="Socket of the device manager or of EdgeCore.",
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
        description="Where the REST API listens; port 0 takes a free one. `off` turns it off.",
    )
    rest_token_file: Path | None = Field(
        default=None,
        description="File with the token that REST clients must show; needed to listen "
        "anywhere but on loopback.",
    )
    state_dir: Path | None = Field(
        default=None, description="Folder for what must survive a restart; none by default."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe lines that are logged."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Form of log lines, on standard error."
    )
    grace: float = Field(
        default=5.0, ge=0, description="Seconds to deliver what is left when told to stop."
    )

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


class Options(BaseModel):
    """What the command line says.

    Attributes:
        ready_json: Print one JSON line on standard output when serving has begun.
    """

    config: Path | None
    ready_json: bool
    given: dict[str, str]


def parse_options(argv: Sequence[str], protocol: str) -> Options:
    """Read the command line; every setting is a flag too.

    Raises:
        SystemExit: With 0 after `--help`, with 2 for flags that do not exist.
    """
    parser = argparse.ArgumentParser(
        prog=f"dmi mapper {protocol}",
        description=f"Serve the {protocol} devices of this node.",
        epilog=f"Each setting can also stand in a YAML file (--config) or in the environment "
        f"({ENVIRONMENT_PREFIX}LOG_LEVEL=debug). Flags win over the environment, and that "
        f"over the file.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--ready-json", action="store_true", help="print one JSON line when serving has begun"
    )
    for name, info in MapperConfig.model_fields.items():
        flag = "--" + name.replace("_", "-")
        default = "" if info.default in (None, "") else f" (default: {info.default})"
        text = f"{info.description}{default}".replace("%", "%%")
        kind = _FLAG_KINDS.get(name, name.rpartition("_")[2].upper())
        parser.add_argument(flag, dest=name, metavar=kind, help=text)
    found = vars(parser.parse_args(argv))
    return Options(
        config=found.pop("config"),
        ready_json=found.pop("ready_json"),
        given={name: value for name, value in found.items() if value is not None},
    )


def load_config(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, str]
) -> MapperConfig:
    """Put the settings together; later sources win.

    Raises:
        ConfigError: A setting is unknown or wrong, or the file cannot be read; the text
            says where it was given.
    """
    given: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, value in _read_file(file).items() if file else ():
        given[name] = value
        sources[name] = str(file)
    for name, info in MapperConfig.model_fields.items():
        key = info.alias or name
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in environment:
            given[key], sources[key] = environment[variable], variable
        if name in flags:
            given[key], sources[key] = flags[name], "--" + name.replace("_", "-")
    try:
        return MapperConfig.model_validate(given)
    except ValidationError as error:
        faults = [fault_of(detail, MapperConfig) for detail in error.errors()]
        raise ConfigError(
            "; ".join(f"{sources.get(str(f.path[0]), 'settings')}: {f}" for f in faults)
        ) from error


def _read_file(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: must be a block of settings")
    return {str(name): value for name, value in data.items()}
