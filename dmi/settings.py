"""Settings of a program: a YAML file, then the environment, then flags; the last one wins."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dmi.errors import ConfigError
from dmi.wording import fault_of

__all__ = ["load_settings", "settings_parser"]

Settings = TypeVar("Settings", bound=BaseModel)


def settings_parser(
    program: str, description: str, model: type[BaseModel], *, prefix: str
) -> argparse.ArgumentParser:
    """Make the parser of a program's command line, where every setting is a flag too.

    Its namespace holds `config`, the YAML file; `ready_json`, whether to print one JSON line
    on standard output when serving has begun; and each setting's text by field name, None
    where it is not given.

    Args:
        program: How it is called, as `--help` shows it.
        description: What it does.
        model: The settings; `data_dir` becomes `--data-dir`, and a field's title is the
            placeholder of its value in `--help`.
        prefix: Of the settings' names in the environment, such as `DMI_MANAGER_`.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog="Each setting can also stand in a YAML file (--config, names in camelCase) or in "
        f"the environment ({prefix}LOG_LEVEL=debug). Flags win over the environment, and that "
        "over the file.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--ready-json", action="store_true", help="print one JSON line when serving has begun"
    )
    for name, info in model.model_fields.items():
        default = "" if info.default in (None, "") else f" (default: {info.default})"
        parser.add_argument(
            _flag(name),
            dest=name,
            metavar=info.title or name.rpartition("_")[2].upper(),
            help=f"{info.description or ''}{default}".replace("%", "%%"),
        )
    return parser


def load_settings(
    model: type[Settings],
    file: Path | None,
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    *,
    prefix: str,
) -> Settings:
    """Put the settings together.

    Args:
        model: What they are; should forbid what it does not know.
        file: YAML, with the names as the model's aliases spell them.
        environment: Looked up under `prefix` and the name in capitals.
        flags: By field name; None where not given.
        prefix: Such as `DMI_MANAGER_`.

    Raises:
        ConfigError: A setting is unknown or wrong, or the file cannot be read; the text
            says where each was given.
    """
    given: dict[str, Any] = _read_file(file) if file is not None else {}
    sources = dict.fromkeys(given, str(file))
    for name, info in model.model_fields.items():
        key, variable = info.alias or name, prefix + name.upper()
        if variable in environment:
            given[key], sources[key] = environment[variable], variable
        if (flag := flags.get(name)) is not None:
            given[key], sources[key] = flag, _flag(name)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = [fault_of(detail, model) for detail in error.errors()]
        texts = (f"{sources.get(str(_first(f.path)), 'settings')}: {f}" for f in faults)
        raise ConfigError("; ".join(texts)) from error


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _first(path: tuple[str | int, ...]) -> str | int:
    return path[0] if path else ""


def _read_file(file: Path) -> dict[str, Any]:
    # Most programs have no file, and do not pay for reading one.
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from error
    if not isinstance(data, dict | None):
        raise ConfigError(f"{file}: must be a block of settings")
    return {str(name): value for name, value in (data or {}).items()}
