"""Structures that a server has defined itself: their binary form, and the same as a mapping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary

from dmi.errors import ConversionError

__all__ = ["Definition", "Member", "Structures", "UnknownStructureError"]

Kind: TypeAlias = "ua.VariantType | ua.NodeId | type"
"""A built-in type, the id of another definition, or a structure of the standard itself."""

_UINT32 = ua.VariantType.UInt32
_INT32 = ua.VariantType.Int32


class UnknownStructureError(Exception):
    """A structure whose definition must be read from the server first.

    Attributes:
        encoding: What it says it is: the id of its binary encoding.
    """

    def __init__(self, encoding: ua.NodeId) -> None:
        super().__init__(encoding.to_string())
        self.encoding = encoding


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a structure."""

    name: str
    kind: Kind
    is_array: bool = False
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """What a structure is made of.

    Attributes:
        encoding: Id under which its binary form travels.
        is_union: It has one of its members at a time, or none.
        has_mask: It begins with bits that say which optional members are there.
    """

    name: str
    encoding: ua.NodeId
    members: Sequence[Member]
    is_union: bool = False
    has_mask: bool = False


@dataclass(slots=True)
class Structures:
    """What is known of the structures of one server.

    asyncua keeps them for the whole process, by ids that mean something else on another
    server, or on the same one after a restart; here each session has its own.

    Attributes:
        by_type: By the id of the data type.
        by_encoding: By the id of its binary encoding.
        opaque: Encodings that the server does not tell enough of.
    """

    by_type: dict[ua.NodeId, Definition] = field(default_factory=dict)
    by_encoding: dict[ua.NodeId, Definition] = field(default_factory=dict)
    opaque: set[ua.NodeId] = field(default_factory=set)

    def forget(self) -> None:
        """Nothing is known any more: the server may be another one."""
        self.by_type.clear()
        self.by_encoding.clear()
        self.opaque.clear()

    # ------------------------------------------------------------- reading ----

    def decoded(self, raw: ua.ExtensionObject) -> dict[str, object]:
        """A structure as a mapping; one that nobody can tell of with its bytes as they are.

        Raises:
            UnknownStructureError: Its definition has not been read yet.
            ConversionError: The bytes do not fit the definition.
        """
        if raw.TypeId in self.opaque:
            return {"TypeId": raw.TypeId, "Body": raw.Body}
        definition = self.of(raw)
        try:
            return self._read(definition, Buffer(raw.Body or b""))
        except (ValueError, TypeError, IndexError, ua.UaError, OSError, EOFError) as error:
            raise ConversionError(f"{definition.name} is not what it was: {error}") from error

    def of(self, raw: ua.ExtensionObject) -> Definition:
        """The definition of a structure.

        Raises:
            UnknownStructureError: It has not been read yet.
        """
        definition = self.by_encoding.get(raw.TypeId)
        if definition is None:
            raise UnknownStructureError(raw.TypeId)
        return definition

    def _read(self, definition: Definition, data: Buffer) -> dict[str, object]:
        """Source: OPC UA Part 6, 5.2.6 (structures), 5.2.7 (optional fields), 5.2.8 (unions)."""
        members = definition.members
        if definition.is_union:
            switch = ua_binary.unpack_uatype(_UINT32, data)
            chosen = members[switch - 1 : switch] if switch else ()
            return {one.name: self._read_member(one, data) for one in chosen}
        optional = [one for one in members if one.is_optional]
        mask = ua_binary.unpack_uatype(_UINT32, data) if definition.has_mask else 0
        absent = {one.name for bit, one in enumerate(optional) if not mask >> bit & 1}
        return {
            one.name: None if one.name in absent else self._read_member(one, data)
            for one in members
        }

    def _read_member(self, member: Member, data: Buffer) -> object:
        if not member.is_array:
            return self._read_one(member.kind, data)
        if isinstance(member.kind, ua.VariantType):
            return ua_binary.unpack_uatype_array(member.kind, data)
        count = ua_binary.unpack_uatype(_INT32, data)
        return [self._read_one(member.kind, data) for _ in range(count)]

    def _read_one(self, kind: Kind, data: Buffer) -> object:
        if isinstance(kind, ua.VariantType):
            return ua_binary.unpack_uatype(kind, data)
        if isinstance(kind, type):
            return ua_binary.struct_from_binary(kind, data)
        return self._read(self.by_type[kind], data)

    # ------------------------------------------------------------- writing ----

    def encoded(self, definition: Definition, values: Mapping[str, Any]) -> ua.ExtensionObject:
        """A structure from the Python values of all its members; of a union, of one."""
        body = self._write(definition, values)
        return ua.ExtensionObject(TypeId=definition.encoding, Body=body)

    def _write(self, definition: Definition, values: Mapping[str, Any]) -> bytes:
        members = definition.members
        if definition.is_union:
            switches = [n for n, one in enumerate(members, 1) if one.name in values]
            head = _packed(_UINT32, switches[0] if switches else 0)
            return head + b"".join(
                self._write_member(members[n - 1], values[members[n - 1].name]) for n in switches
            )
        optional = [one.name for one in members if one.is_optional]
        mask = sum((values[name] is not None) << bit for bit, name in enumerate(optional))
        head = _packed(_UINT32, mask) if definition.has_mask else b""
        return head + b"".join(
            self._write_member(one, values[one.name])
            for one in members
            if not (one.is_optional and values[one.name] is None)
        )

    def _write_member(self, member: Member, value: Any) -> bytes:  # noqa: ANN401 - of any type
        if not member.is_array:
            return self._write_one(member.kind, value)
        if value is None:
            return _packed(_INT32, -1)
        return _packed(_INT32, len(value)) + b"".join(
            self._write_one(member.kind, one) for one in value
        )

    def _write_one(self, kind: Kind, value: Any) -> bytes:  # noqa: ANN401 - of any type
        if isinstance(kind, ua.VariantType):
            return _packed(kind, value)
        if isinstance(kind, type):
            return bytes(ua_binary.struct_to_binary(value))
        return self._write(self.by_type[kind], value)


def _packed(kind: ua.VariantType, value: object) -> bytes:
    return bytes(ua_binary.pack_uatype(kind, value))
