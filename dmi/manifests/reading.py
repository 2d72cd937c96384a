"""Files of Device, DeviceModel and DeviceStatus, read strictly: every mistake with its place.

A cluster's objects may carry fields that are newer than we are; in a file that somebody wrote an
unknown field is a typo, so it is refused here.
"""

import copy
import json
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from dmi.errors import NotFoundError
from dmi.manifests import v1alpha2
from dmi.manifests.checks import check_alone, check_device, check_model
from dmi.manifests.documents import MAX_BYTES, Document, Plain, split_documents
from dmi.mistakes import Fault, ManifestError, Mistake, YamlPath
from dmi.resources import API_VERSION, Device, DeviceModel, DeviceStatus, Key
from dmi.wording import closest, describe, fault_of

__all__ = [
    "Manifest",
    "ManifestError",
    "Mistake",
    "Survey",
    "check_device",
    "check_model",
    "load_manifests",
    "manifest_files",
    "parse_manifests",
    "read_manifests",
    "survey_file",
    "survey_text",
]

Object = Device | DeviceModel | DeviceStatus
_Model = TypeVar("_Model", bound=BaseModel)

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_KINDS: Final[dict[str, type[Object]]] = {
    "Device": Device,
    "DeviceModel": DeviceModel,
    "DeviceStatus": DeviceStatus,
}
_OLD_KINDS: Final[dict[str, type[v1alpha2.Device | v1alpha2.DeviceModel]]] = {
    "Device": v1alpha2.Device,
    "DeviceModel": v1alpha2.DeviceModel,
}
_LISTS: Final = ("List", *(f"{kind}List" for kind in _KINDS))
_OF_THE_SERVER: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "managedFields",
        "ownerReferences",
        "selfLink",
    }
)
"""Metadata that `kubectl get -o yaml` prints and that means nothing here."""

_MENDINGS: Final = 3
"""How often more is taken out of a mistaken object, until the rest can be read."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where it was written.

    Attributes:
        object: As v1beta1, whatever version the file has.
        file: Name of the file.
        document: Position of its YAML document, from 1.
        line: Where the object starts, from 1.
        doubtful: Properties that were written with mistakes, in a mended object.
    """

    object: Object
    file: str
    document: int
    line: int
    doubtful: frozenset[str] = frozenset()
    _: KW_ONLY
    _source: Document
    _root: YamlPath = ()
    _old: bool = False

    @property
    def kind(self) -> str:
        """Device, DeviceModel or DeviceStatus."""
        return self.object.kind

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.object.key

    def mistake(self, fault: Fault) -> Mistake:
        """Give a fault of this object its place in the file."""
        renamed = self._old and self.kind == "Device"
        path = _old_path(fault.path) if renamed else fault.path
        return self._source.mistake((*self._root, *path), fault.problem, fault.hint)


@dataclass
class Survey:
    """Everything that some text holds.

    Attributes:
        manifests: Every object that is right.
        mended: Every other object without its mistaken fields, as far as one can tell;
            good for finding more mistakes, and for nothing else.
        mistakes: In the order of the text.
    """

    manifests: list[Manifest] = field(default_factory=list)
    mended: list[Manifest] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    def add(self, document: Document, root: YamlPath, data: Plain) -> None:
        """Judge one object of a document."""
        found, old, faults = _read_object(data)
        self.mistakes += [document.mistake((*root, *f.path), f.problem, f.hint) for f in faults]
        if found is None:
            return
        line = document.line(root)
        own = _independent(_own_faults(found), faults)
        manifest = Manifest(
            found,
            document.file,
            document.index,
            line,
            _doubtful(found, [*faults, *own]),
            _source=document,
            _root=root,
            _old=old,
        )
        self.mistakes += [manifest.mistake(fault) for fault in own]
        (self.mended if faults or own else self.manifests).append(manifest)


def load_manifests(source: FilePath | str | bytes, *, name: str = "-") -> list[Manifest]:
    """Read a file, a directory or text, all of it or nothing.

    Args:
        source: A `Path` of a file or a directory; or the text itself.
        name: What to call the text in mistakes.

    Raises:
        ManifestError: There are mistakes; it lists all of them.
        NotFoundError: There is no such file.
    """
    if isinstance(source, FilePath):
        results = [read_manifests(file) for file in manifest_files(source)]
    else:
        results = [parse_manifests(source, name)]
    mistakes = [mistake for _, found in results for mistake in found]
    if mistakes:
        raise ManifestError(mistakes)
    return [manifest for manifests, _ in results for manifest in manifests]


def manifest_files(path: FilePath) -> list[FilePath]:
    """The file itself, or the YAML and JSON files of a directory and below it, sorted.

    Hidden files and folders are left out, as editors and mounted ConfigMaps make them.

    Raises:
        NotFoundError: There is no such file or directory.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFoundError(f"{path}: no such file or directory")
    return sorted(
        found
        for found in path.rglob("*")
        if found.suffix in SUFFIXES
        and found.is_file()
        and not any(part.startswith(".") for part in found.relative_to(path).parts)
    )


def read_manifests(path: FilePath | str) -> tuple[list[Manifest], list[Mistake]]:
    """Read one file: every object that is right, and every mistake.

    A file that cannot be opened, or is not text, is one mistake.
    """
    survey = survey_file(path)
    return survey.manifests, survey.mistakes


def survey_file(path: FilePath | str) -> Survey:
    """Read one file as `read_manifests` does, and keep what is right of mistaken objects too."""
    file = FilePath(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            problem = f"longer than {MAX_BYTES // 1024 // 1024} MiB"
            hint = "split it into several files"
            return Survey(mistakes=[Mistake(str(path), 0, 0, "", problem, hint)])
        content = file.read_bytes()
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        return Survey(mistakes=[Mistake(str(path), 0, 0, "", problem)])
    return survey_text(content, str(path))


def parse_manifests(content: str | bytes, name: str) -> tuple[list[Manifest], list[Mistake]]:
    """Read YAML or JSON text: every object that is right, and every mistake.

    Args:
        content: Text, or UTF-8.
        name: What to call it in mistakes.
    """
    survey = survey_text(content, name)
    return survey.manifests, survey.mistakes


def survey_text(content: str | bytes, name: str) -> Survey:
    """Read text as `parse_manifests` does, and keep what is right of mistaken objects too."""
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return Survey(mistakes=[Mistake(name, 0, line, "", "is not UTF-8 text")])
    documents, mistakes = split_documents(text, name)
    survey = Survey(mistakes=mistakes)
    for document in documents:
        for root, data in _objects(document.data, ()):
            survey.add(document, root, data)
    survey.manifests, twice = _without_namesakes(survey.manifests)
    survey.mistakes += twice
    survey.mistakes.sort(key=lambda mistake: (mistake.document, mistake.line))
    return survey


def _objects(data: Plain, root: YamlPath) -> Iterable[tuple[YamlPath, Plain]]:
    """Unpack lists, at any depth."""
    if isinstance(data, dict) and data.get("kind") in _LISTS:
        items = data.get("items") or []
        if isinstance(items, list):
            for index, item in enumerate(items):
                yield from _objects(item, (*root, "items", index))
            return
    yield root, data


def _read_object(data: Plain) -> tuple[Object | None, bool, list[Fault]]:
    """Give the object as far as it can be read, whether it is of v1alpha2, and what cannot."""
    if not isinstance(data, dict):
        problem = "must be a block of fields with apiVersion, kind, metadata and spec"
        return None, False, [Fault((), problem)]
    if identity := _identity_faults(data):
        return None, False, identity
    old = data["apiVersion"] == v1alpha2.API_VERSION
    model = (_OLD_KINDS if old else _KINDS)[str(data["kind"])]
    plain = _without_server_fields(data)
    faults: list[Fault] = []
    found: BaseModel | None
    try:
        found = _strictly(model, json.dumps(plain))
    except ValidationError as error:
        faults = [fault_of(detail, model) for detail in error.errors(include_url=False)]
        found = _mended(model, plain, faults)
    if isinstance(found, v1alpha2.Device | v1alpha2.DeviceModel):
        found = found.upgraded()
    return found if isinstance(found, Object) else None, old, faults


def _mended(model: type[_Model], data: dict[str, Plain], faults: list[Fault]) -> _Model | None:
    """What the object would be without its mistaken fields; None where nothing sensible is left."""
    mended = copy.deepcopy(data)
    for _ in range(_MENDINGS):
        for fault in faults:
            _take_out(mended, fault.path)
        if isinstance(metadata := mended.setdefault("metadata", {}), dict):
            metadata.setdefault("name", "unnamed")
        try:
            return _strictly(model, json.dumps(mended))
        except ValidationError as error:
            faults = [fault_of(detail, model) for detail in error.errors(include_url=False)]
    return None


def _take_out(data: dict[str, Plain], path: YamlPath) -> None:
    """Remove a field; where it is missing already, the block that cannot do without it."""
    place: Any = data
    blocks: list[tuple[dict[str, Plain], str]] = []
    for part in path:
        if isinstance(place, dict):
            blocks.append((place, str(part)))
            place = place.get(str(part))
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            place = place[part]
    for block, name in reversed(blocks):
        if name in block:
            del block[name]
            return


def _doubtful(found: Object, faults: Iterable[Fault]) -> frozenset[str]:
    """Names of the properties that have faults."""
    if isinstance(found, DeviceStatus):
        return frozenset()
    properties = found.spec.properties
    names = set()
    for fault in faults:
        match fault.path:
            case ("spec", "properties", int(index), *_) if index < len(properties):
                names.add(properties[index].name)
    return frozenset(names)


def _own_faults(found: Object) -> list[Fault]:
    if isinstance(found, Device):
        return check_alone(found)
    return check_model(found) if isinstance(found, DeviceModel) else []


def _independent(own: Iterable[Fault], faults: Iterable[Fault]) -> list[Fault]:
    """Leave out what may only follow from a property's mistakes: without its type, its bounds."""
    doubtful = {fault.path[:3] for fault in faults if fault.path[:2] == ("spec", "properties")}
    return [fault for fault in own if fault.path[:3] not in doubtful or fault.path[-1] == "name"]


_OLD_WORDS: Final = {"properties": "propertyVisitors", "name": "propertyName"}


def _old_path(path: YamlPath) -> YamlPath:
    """Where v1alpha2 has what v1beta1 has at `path` of a device's properties."""
    if path[:2] != ("spec", "properties"):
        return path
    words = [_OLD_WORDS.get(str(part), part) if isinstance(part, str) else part for part in path]
    return tuple(words)


def _strictly(model: type[_Model], text: str) -> _Model:
    return model.model_validate_json(text, strict=True, extra="forbid", by_name=False)


def _identity_faults(data: dict[str, Plain]) -> list[Fault]:
    """Faults that leave unclear which fields to expect."""
    faults = []
    kind, version = data.get("kind"), data.get("apiVersion")
    if kind in _LISTS:
        return [Fault(("items",), f"must be a list, not {describe(data.get('items'))}")]
    if kind is None:
        faults.append(Fault((), "kind is missing", f"one of {', '.join(_KINDS)}"))
    elif not isinstance(kind, str) or kind not in _KINDS:
        problem = f"kind {kind!r} is not one of {', '.join(_KINDS)}"
        faults.append(Fault(("kind",), problem, closest(str(kind), list(_KINDS))))
    known = [API_VERSION] if kind == "DeviceStatus" else [API_VERSION, v1alpha2.API_VERSION]
    if version is None:
        faults.append(Fault((), "apiVersion is missing", f"write {API_VERSION}"))
    elif version not in known:
        problem = f"apiVersion {version!r} is not {' or '.join(known)}"
        faults.append(Fault(("apiVersion",), problem, f"write {API_VERSION}"))
    return faults


def _without_server_fields(data: dict[str, Plain]) -> dict[str, Plain]:
    """Leave out what only a server writes, and what is empty: for Kubernetes null is absent."""
    kept = {name: _without_nulls(value, name) for name, value in data.items() if value is not None}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        kept["metadata"] = {k: v for k, v in metadata.items() if k not in _OF_THE_SERVER}
    if kept.get("kind") == "DeviceStatus" and kept.get("spec") == {}:
        del kept["spec"]
    return kept


_FREE: Final = frozenset({"configData", "protocolConfigData", "anomalyDetection", "extensions"})


def _without_nulls(value: Plain, name: str) -> Plain:
    if name in _FREE:
        return value
    if isinstance(value, dict):
        return {k: _without_nulls(v, k) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(item, name) for item in value]
    return value


def _without_namesakes(manifests: Iterable[Manifest]) -> tuple[list[Manifest], list[Mistake]]:
    """Keep the first of each name; which of two was meant is for their author to say."""
    first: dict[tuple[str, Key], Manifest] = {}
    mistakes = []
    for manifest in manifests:
        earlier = first.setdefault((manifest.kind, manifest.key), manifest)
        if earlier is not manifest:
            problem = f"{manifest.kind} {manifest.key} is already at line {earlier.line}"
            mistakes.append(manifest.mistake(Fault(("metadata", "name"), problem)))
    return list(first.values()), mistakes
