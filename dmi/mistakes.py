"""A mistake in somebody's file: where it is, what is wrong, and how to put it right."""

from collections.abc import Sequence
from dataclasses import dataclass

from dmi.errors import ConfigError

__all__ = ["Fault", "ManifestError", "Mistake", "YamlPath", "path_text"]

YamlPath = tuple[str | int, ...]


def path_text(path: YamlPath) -> str:
    """Spell a path as people write it: `spec.properties[0].visitors`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "." in part or "/" in part or not part:
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at one place of an object, before it is known which file that came from.

    Attributes:
        path: Keys and list positions from the object's root.
        problem: What is wrong, without the path.
        hint: What to write instead; empty when that is obvious.
    """

    path: YamlPath
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        where = path_text(self.path)
        text = f"{where}: {self.problem}" if where else self.problem
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that the author of a file has to change.

    Attributes:
        file: As it was named to us; `-` or another word when the text came from elsewhere.
        document: Position of the YAML document in the file, from 1; 0 when the whole file is meant.
        line: Line in the file, from 1; 0 when unknown.
        path: Place in the document, such as `spec.properties[0].name`; may be empty.
        problem: What is wrong.
        hint: What to write instead; may be empty.
    """

    file: str
    document: int
    line: int
    path: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        places = []
        if self.document:
            places.append(f"document {self.document}")
        if self.line:
            places.append(f"line {self.line}")
        where = f" {', '.join(places)}," if places else ""
        text = f"{self.file}:{where} {self.path}: {self.problem}"
        if not self.path:
            text = f"{self.file}:{where.rstrip(',')}{':' if where else ''} {self.problem}"
        return f"{text} ({self.hint})" if self.hint else text

    def to_json(self) -> dict[str, str | int]:
        """Plain JSON, for programs."""
        return {
            "file": self.file,
            "document": self.document,
            "line": self.line,
            "path": self.path,
            "problem": self.problem,
            "hint": self.hint,
        }


class ManifestError(ConfigError):
    """A file of resources has mistakes; the text names each of them on its own line.

    Attributes:
        mistakes: All that were found, in the order of the file.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)
