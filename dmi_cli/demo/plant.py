"""The demo's device files: the plant of `examples/`, pointed at the simulator's port."""

from pathlib import Path
from typing import Any

import yaml

from dmi.errors import ConfigError

__all__ = ["write_plant"]

_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE.parent / "plant", _HERE.parent.parent / "examples" / "plant")
"""Inside an installed wheel, and in a checkout."""


def write_plant(folder: Path, port: int) -> list[str]:
    """Write the plant's device files into `folder`, with the simulator's TCP port.

    Returns:
        The names of the files.
    """
    source = next((place for place in _PLACES if any(place.glob("*.yaml"))), None)
    if source is None:
        raise ConfigError(f"no device files in {' or '.join(map(str, _PLACES))}")
    files = sorted(source.glob("*.yaml"))
    for file in files:
        documents = [_with_port(d, port) for d in yaml.safe_load_all(file.read_text())]
        (folder / file.name).write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return [file.name for file in files]


def _with_port(document: Any, port: int) -> Any:  # noqa: ANN401 - raw YAML
    match document:
        case {"spec": {"protocol": {"configData": {"port": _} as settings}}}:
            settings["port"] = port
        case {"spec": {"protocolConfigData": {"port": _} as settings}}:
            settings["port"] = port
    return document
