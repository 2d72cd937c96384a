"""How a node is named in settings: by id in every form, by namespace URI, by browse path."""

import base64
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Address", "Identifier", "Namespace", "Step", "parse_node_id", "parse_path"]

Namespace = int | str
"""An index, or a URI whose index is looked up at each connect."""

Identifier = int | str | uuid.UUID | bytes

_BY_INDEX = re.compile(r"ns\s*=\s*(\d+)\s*[;,]\s*")
_BY_URI = re.compile(r"nsu\s*=\s*([^;]*[^;\s])\s*;\s*")
_INDEXED = re.compile(r"(\d+):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """One browse name on the way to a node."""

    namespace: Namespace
    name: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node is: by its id, or by the way to it.

    Attributes:
        namespace: Of the id.
        identifier: None for a node that is named by its path.
        path: The way to it.
        from_root: The way begins at the root, not at the Objects folder.
    """

    namespace: Namespace = 0
    identifier: Identifier | None = None
    path: tuple[Step, ...] = ()
    from_root: bool = False

    def __str__(self) -> str:
        if self.identifier is None:
            way = "/".join(f"{step.namespace}:{step.name}" for step in self.path)
            return f"/{way}" if self.from_root else way
        kinds: dict[type, str] = {int: "i", str: "s", uuid.UUID: "g", bytes: "b"}
        kind = kinds[type(self.identifier)]
        text = self.identifier
        if isinstance(text, bytes):
            text = base64.b64encode(text).decode()
        if isinstance(self.namespace, str):
            return f"nsu={self.namespace};{kind}={text}"
        return f"ns={self.namespace};{kind}={text}" if self.namespace else f"{kind}={text}"

    @property
    def namespaces(self) -> set[str]:
        """The namespace URIs that must be looked up."""
        names = {self.namespace, *(step.namespace for step in self.path)}
        return {name for name in names if isinstance(name, str)}


def parse_node_id(text: str, namespace: Namespace = 0) -> Address:
    """Read `ns=2;s=Boiler`, `nsu=urn:plant;i=7`, `i=2258`, `g=...`, `b=...` (Base64).

    A comma after the namespace will do as well: KubeEdge's sample has it.

    Args:
        text: As written.
        namespace: Holds where the text names none.

    Raises:
        ValueError: It is no node id.

    Source:
        OPC UA Part 6, 5.3.1.10 (NodeId as text) and 5.3.1.11 (with a URI).
    """
    rest = text.strip()
    if found := _BY_INDEX.match(rest):
        namespace = int(found[1])
    elif found := _BY_URI.match(rest):
        namespace = found[1]
    rest = rest[found.end() :] if found else rest
    kind, _, value = rest.partition("=")
    read = _READERS.get(kind.strip())
    if read is None or not value or (isinstance(namespace, int) and namespace > 0xFFFF):
        raise ValueError(f"{text!r} is no node id; write one as ns=2;s=NAME or nsu=URI;i=NUMBER")
    try:
        return Address(namespace, read(value))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None


def _number(value: str) -> int:
    number = int(value)
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError("i= takes 32 bits")
    return number


def _bytes(value: str) -> bytes:
    return base64.b64decode(value.strip(), validate=True)


_READERS: dict[str, Callable[[str], Identifier]] = {
    "i": _number,
    "s": str,
    "g": uuid.UUID,
    "b": _bytes,
}


def parse_path(text: str, namespace: Namespace = 0) -> Address:
    """Read `2:Plant/2:Boiler` from the Objects folder, or `/Objects/2:Plant` from the root.

    Args:
        text: Browse names; `&` makes the next character an ordinary one.
        namespace: Of the names that say none. `Objects` after the root is the standard's own.

    Raises:
        ValueError: A name is missing.

    Source:
        OPC UA Part 4, A.2 (relative path as text), of which this is the part without
        reference types.
    """
    parts = [re.sub(r"&(.)", r"\1", part) for part in re.split(r"(?<!&)/", text.strip())]
    from_root = parts[0] == ""
    if from_root:
        parts = parts[1:]
    if not parts or not all(parts):
        raise ValueError(f"{text!r}: a browse path is names with / between them")
    steps = [_step(part, namespace) for part in parts]
    if from_root and parts[0] in {"Objects", "Types", "Views"}:
        steps[0] = Step(0, parts[0])
    return Address(path=tuple(steps), from_root=from_root)


def _step(part: str, namespace: Namespace) -> Step:
    indexed = _INDEXED.fullmatch(part)
    if indexed:
        return Step(int(indexed.group(1)), indexed.group(2))
    return Step(namespace, part)
