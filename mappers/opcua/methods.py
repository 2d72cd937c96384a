"""The methods of a server's object: what they take and give, and calling them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from dmi.errors import ConversionError, DmiError, NotFoundError
from dmi.readings import Value
from mapper_sdk.driver import Method
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.space import browse, empty_variant
from mappers.opcua.session.types import with_structures
from mappers.opcua.values.reading import plain_value
from mappers.opcua.values.refusals import is_gone, status_error
from mappers.opcua.values.writing import to_variant

__all__ = ["ObjectMethod", "call_method", "find_methods", "method_named"]

_SCHEMAS: dict[ua.VariantType, str] = {
    ua.VariantType.Boolean: "boolean",
    ua.VariantType.Float: "number",
    ua.VariantType.Double: "number",
    ua.VariantType.ExtensionObject: "object",
} | {
    kind: "integer"
    for kind in ua.VariantType
    if kind.name
    in {
        *("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64"),
    }
}


@dataclass(frozen=True, slots=True)
class _Argument:
    name: str
    like: ua.Variant
    description: str

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        kind = self.like.VariantType
        schema = {
            "type": _SCHEMAS.get(kind, "string"),
            "description": self.description or kind.name,
        }
        if self.like.is_array:
            schema["type"] = "array"
        elif kind is ua.VariantType.ByteString:
            schema["contentEncoding"] = "base64"
        return schema


@dataclass(frozen=True, slots=True)
class ObjectMethod:
    """One method.

    Attributes:
        node: Its id.
        owner: The object that it is called on.
    """

    name: str
    node: ua.NodeId
    owner: ua.NodeId
    takes: Sequence[_Argument]
    gives: Sequence[_Argument]
    description: str

    def described(self) -> Method:
        """As the contract says it."""
        return Method(
            self.name,
            self.description,
            {argument.name: argument.schema() for argument in self.takes},
            {argument.name: argument.schema() for argument in self.gives},
        )


async def find_methods(channel: Channel, owner: ua.NodeId) -> dict[str, ObjectMethod]:
    """The methods of an object by name."""
    found: dict[str, ObjectMethod] = {}
    for one in await browse(channel, owner, ua.NodeClass.Method):
        takes, gives = await _arguments(channel, one.NodeId)
        (text,) = await channel.read([one.NodeId], ua.AttributeIds.Description)
        value = text.Value.Value if text.Value is not None else None
        description = value.Text or "" if isinstance(value, ua.LocalizedText) else ""
        name = str(one.BrowseName.Name)
        found[name] = ObjectMethod(name, one.NodeId, owner, takes, gives, description)
    return found


async def _arguments(
    channel: Channel, method: ua.NodeId
) -> tuple[Sequence[_Argument], Sequence[_Argument]]:
    lists: dict[str, Sequence[_Argument]] = {}
    for one in await browse(channel, method, ua.NodeClass.Variable):
        name = str(one.BrowseName.Name)
        if name in {"InputArguments", "OutputArguments"}:
            (data,) = await channel.read([one.NodeId])
            values = data.Value.Value if data.Value is not None else None
            lists[name] = [await _argument(channel, value) for value in values or ()]
    return lists.get("InputArguments", ()), lists.get("OutputArguments", ())


async def _argument(channel: Channel, argument: ua.Argument) -> _Argument:
    is_array = argument.ValueRank >= 0
    try:
        like = await empty_variant(channel, argument.DataType, is_array=is_array)
    except DmiError as error:
        if is_gone(error):
            raise
        # Nobody can call it; the others can be called all the same.
        like = ua.Variant(ua.ExtensionObject(), ua.VariantType.ExtensionObject)
    return _Argument(str(argument.Name), like, argument.Description.Text or "")


async def call_method(
    channel: Channel, method: ObjectMethod, arguments: Mapping[str, Value]
) -> Mapping[str, Value]:
    """Call it, and give its results by name.

    Raises:
        ConversionError: An argument is missing, unknown or of another type.
        DmiError: The server refuses it.
    """
    names = [argument.name for argument in method.takes]
    if set(arguments) != set(names):
        raise ConversionError(f"{method.name} takes {', '.join(names) or 'no arguments'}")
    inputs = [to_variant(arguments[one.name], one.like, channel.structures) for one in method.takes]
    request = ua.CallMethodRequest(
        ObjectId=method.owner, MethodId=method.node, InputArguments=inputs
    )
    (result,) = await channel.ask("calling", channel.session.call, [request])
    if not result.StatusCode.is_good():
        raise status_error(result.StatusCode.value, f"calling {method.name}")
    outputs = list(zip(method.gives, result.OutputArguments or [], strict=False))
    given = await with_structures(
        channel,
        lambda: [(one.name, plain_value(v.Value, channel.structures)) for one, v in outputs],
    )
    return {name: value for name, value in given if value is not None}


def method_named(methods: Mapping[str, ObjectMethod], name: str) -> ObjectMethod:
    """The method of this name.

    Raises:
        NotFoundError: There is none.
    """
    if name not in methods:
        raise NotFoundError(f"there is no method {name!r}")
    return methods[name]
