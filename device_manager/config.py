"""Settings of the device manager."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from device_manager.storage.database import Synchronous
from dmi.logs import LogFormat, LogLevel
from dmi.rest.door import Door, DoorSettings
from dmi.settings import load_settings, settings_parser
from dmi.unix_socket import MANAGER_SOCKET

__all__ = ["ENVIRONMENT_PREFIX", "ManagerConfig", "Options", "load_config", "parse_options"]

ENVIRONMENT_PREFIX: Final = "DMI_MANAGER_"
"""`DMI_MANAGER_DATA_DIR` sets `dataDir`, and so on."""


class ManagerConfig(BaseModel):
    """What the manager needs to know. In YAML the names are in camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    data_dir: Path = Field(
        default=Path("/var/lib/dmi"), description="Folder for the database; made when missing."
    )
    socket: Path = Field(default=MANAGER_SOCKET, description="Unix socket on which mappers call.")
    api: str = Field(
        default="127.0.0.1:10350",
        title="HOST:PORT",
        description="Where the REST API listens: HOST:PORT, port 0 for a free one, or unix:/PATH.",
    )
    api_token_file: Path | None = Field(
        default=None,
        description="File with one token for everything, 16 characters at least, that REST "
        "clients must show. For several clients there is `apiClients`.",
    )
    api_clients: Path | None = Field(
        default=None,
        description="YAML file of REST clients and what each may do, made by `dmi token`; "
        "it is read again when it changes.",
    )
    api_certificate: Path | None = Field(
        default=None, description="Our certificate and its chain, PEM: the API is HTTPS."
    )
    api_key: Path | None = Field(default=None, description="Its key, PEM, without a password.")
    api_client_ca: Path | None = Field(
        default=None,
        description="Who signs clients' certificates, PEM: clients must show one, and its "
        "name is theirs.",
    )
    api_insecure: bool = Field(
        default=False,
        description="Let everybody in although the API can be reached from other machines.",
    )
    api_rate: float | None = Field(
        default=None,
        ge=0,
        description="Requests a second that one REST client may make, 0 for any number; by "
        "default 2000, and any number where only this machine can ask.",
    )
    devices: Path | None = Field(
        default=None, description="Folder, or file, of devices and models; it is watched."
    )
    lease: float = Field(
        default=10.0, gt=0, le=3600, description="Seconds without a beat until a mapper is gone."
    )
    synchronous: Synchronous = Field(
        default="normal",
        description="What a commit survives: normal, the death of the process; full, of the power.",
    )
    log_level: LogLevel = Field(default="info", description="Least severe lines that are logged.")
    log_format: LogFormat = Field(
        default="text", description="Form of log lines, on standard error: text or json."
    )
    grace: float = Field(
        default=3.0, ge=0, description="Seconds for mappers to end their streams when it stops."
    )

    @property
    def database(self) -> Path:
        """Where the database lies."""
        return self.data_dir / "manager.db"

    def door(self) -> Door:
        """What guards the REST API.

        Raises:
            ConfigError: A file that it needs is missing or wrong; or there is nothing to
                guard it although others than this machine's users can reach it.
        """
        return Door.of(
            DoorSettings(
                self.api,
                "api",
                token_file=self.api_token_file,
                clients=self.api_clients,
                certificate=self.api_certificate,
                key=self.api_key,
                client_ca=self.api_client_ca,
                insecure=self.api_insecure,
                rate=self.api_rate,
            )
        )


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        config: YAML file of settings.
        ready_json: Print one JSON line on standard output when serving has begun.
        quarantine_corrupt: Move a damaged database aside and start with an empty one.
        flags: Settings by field name.
    """

    config: Path | None
    ready_json: bool
    quarantine_corrupt: bool
    flags: Mapping[str, str | None]


def parse_options(argv: Sequence[str]) -> Options:
    """Read the command line; every setting is a flag too.

    Raises:
        SystemExit: With 0 after `--help`, with 2 for flags that do not exist.
    """
    parser = settings_parser(
        "dmi manager",
        "Run the device manager of this node until SIGTERM or SIGINT.",
        ManagerConfig,
        prefix=ENVIRONMENT_PREFIX,
    )
    parser.add_argument(
        "--quarantine-corrupt",
        action="store_true",
        help="if the database is damaged, move it aside (never delete it) and start with an "
        "empty one",
    )
    found = vars(parser.parse_args(argv))
    return Options(
        config=found.pop("config"),
        ready_json=found.pop("ready_json"),
        quarantine_corrupt=found.pop("quarantine_corrupt"),
        flags=found,
    )


def load_config(options: Options, environment: Mapping[str, str]) -> ManagerConfig:
    """Put the settings together.

    Raises:
        ConfigError: A setting is unknown or wrong; the text says where it was given.
    """
    return load_settings(
        ManagerConfig, options.config, environment, options.flags, prefix=ENVIRONMENT_PREFIX
    )
