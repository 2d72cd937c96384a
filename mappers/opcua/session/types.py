"""What a server tells of the structures that it has defined itself."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from asyncua import ua

from dmi.errors import DmiError, RefusedError
from mappers.opcua.session.channel import Channel
from mappers.opcua.values.refusals import is_gone, status_error
from mappers.opcua.values.structures import Definition, Kind, Member, UnknownStructureError

__all__ = ["learn_type", "with_structures"]

Result = TypeVar("Result")

_BASE_TYPE = 24
_STRUCTURE = ua.NodeId(ua.ObjectIds.Structure)
_ENUMERATION = ua.NodeId(ua.ObjectIds.Enumeration)
_UNIONS = frozenset({ua.StructureType.Union, ua.StructureType.UnionWithSubtypedValues})
_SUBTYPED = frozenset(
    {
        ua.StructureType.StructureWithSubtypedValues,
        ua.StructureType.UnionWithSubtypedValues,
    }
)
_DEEPEST = 20
"""Levels of types above or inside one another; more is a mistake of the server."""


async def with_structures(channel: Channel, make: Callable[[], Result]) -> Result:
    """Do what needs definitions of structures; each that is missing is read from the server.

    Raises:
        DmiError: As `make` says, or the server is away.
    """
    while True:
        try:
            return make()
        except UnknownStructureError as unknown:
            await _learn(channel, unknown.encoding)


async def _learn(channel: Channel, encoding: ua.NodeId) -> None:
    """Know what an encoding stands for, or that nobody tells."""
    structures = channel.structures
    try:
        data_type = await _one_reference(channel, encoding, ua.ObjectIds.HasEncoding)
        if data_type is None:
            raise RefusedError(f"{encoding.to_string()} is the encoding of no type")
        structures.by_encoding[encoding] = await _definition(channel, data_type, 0)
    except DmiError as error:
        if is_gone(error):
            raise
        structures.opaque.add(encoding)


async def learn_type(channel: Channel, data_type: ua.NodeId) -> object:
    """An empty structure of a type, as a pattern to write by.

    Raises:
        DmiError: The server does not tell what it is made of.
    """
    standard = _standard_class(data_type)
    if standard is not None:
        return standard()
    definition = await _definition(channel, data_type, 0)
    channel.structures.by_encoding[definition.encoding] = definition
    return ua.ExtensionObject(TypeId=definition.encoding)


async def _definition(channel: Channel, data_type: ua.NodeId, depth: int) -> Definition:
    known = channel.structures.by_type.get(data_type)
    if known is not None:
        return known
    if depth > _DEEPEST:
        raise RefusedError(f"{data_type.to_string()} is made of itself")
    told = await _read(channel, data_type, ua.AttributeIds.DataTypeDefinition)
    if not isinstance(told, ua.StructureDefinition):
        raise RefusedError(f"the server does not tell what {data_type.to_string()} is made of")
    name = await _read(channel, data_type, ua.AttributeIds.BrowseName)
    members = [await _member(channel, told, one, data_type, depth) for one in told.Fields or ()]
    definition = Definition(
        name=str(getattr(name, "Name", data_type.to_string())),
        encoding=told.DefaultEncodingId,
        members=[*await _inherited(channel, told, members, depth), *members],
        is_union=told.StructureType in _UNIONS,
        has_mask=told.StructureType == ua.StructureType.StructureWithOptionalFields,
    )
    channel.structures.by_type[data_type] = definition
    return definition


async def _inherited(
    channel: Channel, told: ua.StructureDefinition, own: Sequence[Member], depth: int
) -> Sequence[Member]:
    """Fields of the type above that a server has left out, which it should not."""
    base = told.BaseDataType
    if base.NamespaceIndex == 0:
        return ()
    above = await _definition(channel, base, depth + 1)
    names = {one.name for one in own}
    return [one for one in above.members if one.name not in names]


async def _member(
    channel: Channel,
    told: ua.StructureDefinition,
    one: ua.StructureField,
    inside: ua.NodeId,
    depth: int,
) -> Member:
    if one.ValueRank > 1:
        raise RefusedError(f"the field {one.Name} has {one.ValueRank} dimensions")
    kind: Kind = one.DataType
    # In such a structure the mark of optional fields means that types below are allowed.
    subtyped = bool(one.IsOptional) and told.StructureType in _SUBTYPED
    if kind != inside:
        kind = await _kind(channel, one.DataType, depth)
    if subtyped:
        of_structures = not isinstance(kind, ua.VariantType)
        kind = ua.VariantType.ExtensionObject if of_structures else ua.VariantType.Variant
    optional = bool(one.IsOptional) and not subtyped and told.StructureType not in _UNIONS
    # Scalar is -1, and 0 is nothing that a field may have: servers mean the same by it.
    return Member(str(one.Name), kind, one.ValueRank == 1, optional)


async def _kind(channel: Channel, data_type: ua.NodeId, depth: int) -> Kind:
    """What a field of some data type is written as."""
    above: ua.NodeId | None = data_type
    for _ in range(_DEEPEST):
        if above is None:
            break
        if above == _ENUMERATION:
            return ua.VariantType.Int32
        if above == _STRUCTURE:
            return await _structure(channel, data_type, depth)
        if above.NamespaceIndex == 0 and above.Identifier <= _BASE_TYPE:
            return ua.VariantType(above.Identifier)
        above = await _one_reference(channel, above, ua.ObjectIds.HasSubtype)
    raise RefusedError(f"{data_type.to_string()} is no data type")


async def _structure(channel: Channel, data_type: ua.NodeId, depth: int) -> Kind:
    if data_type == _STRUCTURE:
        return ua.VariantType.ExtensionObject
    standard = _standard_class(data_type)
    if standard is not None:
        return standard
    await _definition(channel, data_type, depth + 1)
    return data_type


def _standard_class(data_type: ua.NodeId) -> type | None:
    """What asyncua has for a structure of the standard's own."""
    if data_type.NamespaceIndex != 0:
        return None
    found = getattr(ua, ua.ObjectIdNames.get(data_type.Identifier, ""), None)
    return found if getattr(found, "data_type", None) == data_type else None


async def _one_reference(channel: Channel, node: ua.NodeId, reference: int) -> ua.NodeId | None:
    """Where a reference to a node comes from: of a type the one above, of an encoding its type."""
    wanted = ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Inverse,
        ReferenceTypeId=ua.NodeId(reference),
        IncludeSubtypes=True,
        NodeClassMask=0,
        ResultMask=ua.BrowseResultMask.None_,
    )
    parameters = ua.BrowseParameters(RequestedMaxReferencesPerNode=0, NodesToBrowse=[wanted])
    (result,) = await channel.ask("reading types", channel.session.browse, parameters)
    if not result.StatusCode.is_good() or not result.References:
        return None
    found: ua.NodeId = result.References[0].NodeId
    return ua.NodeId(found.Identifier, found.NamespaceIndex)


async def _read(channel: Channel, node: ua.NodeId, attribute: ua.AttributeIds) -> object:
    (data,) = await channel.read([node], attribute)
    if data.StatusCode is not None and not data.StatusCode.is_good():
        raise status_error(data.StatusCode.value, f"type {node.to_string()}")
    return None if data.Value is None else data.Value.Value
