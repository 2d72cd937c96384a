"""How settings may be spelled: any case, KubeEdge's words as well as ours."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

__all__ = ["SpelledSettings", "canonical_keys", "plain", "to_integer", "word_for"]


def plain(word: str) -> str:
    """A word without case, dashes, underscores and spaces: what people mix up."""
    return "".join(letter for letter in word.lower() if letter not in "-_ ")


def canonical_keys(
    data: Mapping[str, Any], names: Mapping[str, str], ignored: frozenset[str]
) -> dict[str, Any]:
    """Rename the keys of configData to the spelling that the model has.

    Args:
        data: As written; model defaults may have been merged in, key by key.
        names: Plain spelling to the model's own.
        ignored: Plain spellings of settings that KubeEdge has and that mean nothing here.

    Returns:
        A new dict. Unknown keys stay, for the model to refuse by name.

    Raises:
        ValueError: Two spellings of one setting say different things.
    """
    found: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for key, value in data.items():
        if plain(key) in ignored:
            continue
        name = names.get(plain(key), key)
        if name in found and found[name] != value:
            raise ValueError(f"{spelled[name]!r} and {key!r} are one setting; keep one of them")
        found[name] = value
        spelled.setdefault(name, key)
    return found


class SpelledSettings(BaseModel):
    """Settings of a device or a property. Keys may be written in any case.

    Attributes:
        other_names: What others call a setting, in plain spelling, and what it is called here.
        ignored_names: Plain spellings of settings that mean nothing here.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    other_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    ignored_names: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _spell(cls, data: Any) -> Any:  # noqa: ANN401 - raw settings
        if not isinstance(data, dict):
            return data
        fields = [info.alias or name for name, info in cls.model_fields.items()]
        names = {**cls.other_names, **{plain(field): field for field in fields}}
        given = {str(key): value for key, value in data.items()}
        return cls._arrange(canonical_keys(given, names, cls.ignored_names))

    @classmethod
    def _arrange(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Change settings whose keys are spelled as the model has them, before it reads them."""
        return given


def word_for(words: type[StrEnum], synonyms: Mapping[str, StrEnum]) -> Callable[[object], object]:
    """Make a validator that accepts the words of an enum in any case, and its synonyms."""
    known: dict[str, StrEnum] = {plain(member.value): member for member in words}
    known.update(synonyms)

    def read(given: object) -> object:
        return known.get(plain(given), given) if isinstance(given, str) else given

    return read


def to_integer(given: object) -> object:
    """Read `"0x10"` and `"16"` as 16; leave what is not such text to the model."""
    if not isinstance(given, str):
        return given
    try:
        return int(given.strip(), 16 if given.strip().lower().startswith("0x") else 10)
    except ValueError:
        return given
