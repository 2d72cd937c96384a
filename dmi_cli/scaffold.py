"""`dmi new mapper`: copies a small driver that works, under another name."""

import argparse
import keyword
import re
from importlib import resources
from pathlib import Path
from typing import Final

from dmi.errors import ConfigError, ConflictError
from dmi_cli.exits import Exit
from dmi_cli.output import print_line

__all__ = ["new"]

_FILES: Final = (
    "README.md",
    "kiln.yaml",
    "kiln_driver.py",
    "kiln_simulator.py",
    "pytest.ini",
    "test_kiln_driver.py.txt",
)
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new(options: argparse.Namespace) -> int:
    """Write the files of a mapper; existing files are never touched.

    Raises:
        ConfigError: The name cannot be a protocol's and a Python module's.
        ConflictError: One of the files is there already.
    """
    name: str = options.name
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > 60:
        raise ConfigError(
            f"{name!r} cannot be a mapper's name: lower-case letters, digits and single '-'"
        )
    directory = Path(options.directory or name)
    texts = {
        directory / _renamed(file.removesuffix(".txt"), name): _renamed(_template(file), name)
        for file in _FILES
    }
    if taken := next((path for path in texts if path.exists()), None):
        raise ConflictError(f"{taken} is there already; nothing was written")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
            print_line(str(path))
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror or error}") from error
    print_line(f"next: cd {directory} && python -m pytest, then README.md")
    return Exit.OK


def _template(file: str) -> str:
    return resources.files("dmi_cli.template").joinpath(file).read_text(encoding="utf-8")


def _renamed(text: str, name: str) -> str:
    """Put the name in place of kiln: as a class, as the beginning of a module, and as it is."""
    words = {
        "Kiln": "".join(word.capitalize() for word in name.split("-")),
        "kiln_": f"{name.replace('-', '_')}_",
        "kiln": name,
    }
    return re.sub("Kiln|kiln_|kiln", lambda found: words[found[0]], text)
