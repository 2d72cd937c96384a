"""The demo's device files: the plants of `examples/`, pointed at the simulators' ports."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from dmi.errors import ConfigError

__all__ = ["write_plant"]

_HERE: Final = Path(__file__).resolve().parent
_PLACES: Final = (_HERE.parent, _HERE.parent.parent / "examples")
"""Inside an installed wheel, and in a checkout."""
_LOCAL: Final = re.compile(r"(127\.0\.0\.1:)\d+")


def write_plant(plant: str, folder: Path, port: int) -> list[str]:
    """Write a plant's device files into `folder`, with its simulator's TCP port.

    The port replaces the setting `port`, and the port of every loopback address in a setting.

    Returns:
        The names of the files.
    """
    source = next((place for place in _PLACES if any((place / plant).glob("*.yaml"))), None)
    if source is None:
        places = " or ".join(str(place / plant) for place in _PLACES)
        raise ConfigError(f"no device files in {places}")
    files = sorted((source / plant).glob("*.yaml"))
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        documents = [_with_port(d, port) for d in yaml.safe_load_all(file.read_text())]
        (folder / file.name).write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return [file.name for file in files]


def _with_port(document: Any, port: int) -> Any:  # noqa: ANN401 - raw YAML
    match document:
        case {"spec": {"protocol": {"configData": dict() as settings}}}:
            _point(settings, port)
        case {"spec": {"protocolConfigData": dict() as settings}}:
            _point(settings, port)
    return document


def _point(settings: dict[str, Any], port: int) -> None:
    for name, value in settings.items():
        if name == "port":
            settings[name] = port
        elif isinstance(value, str):
            settings[name] = _LOCAL.sub(rf"\g<1>{port}", value)
