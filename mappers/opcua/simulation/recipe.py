"""Structures of the simulated plant's own: a recipe with everything that such a type can have."""

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from asyncua import Node, Server, ua
from asyncua.common.structures104 import load_custom_struct, new_enum, new_struct, new_struct_field

__all__ = ["add_recipe"]


class _Mode(IntEnum):
    Off = 0
    Auto = 1
    Manual = 2


async def add_recipe(server: Server, boiler: Node, index: int) -> dict[str, Node]:
    """Add the types and two variables of the boiler; gives the variables by name.

    A recipe has an enumeration, a structure, an array of structures, an optional field and a
    union in it.
    """
    number, text, time = ua.VariantType.Double, ua.VariantType.String, ua.VariantType.DateTime
    mode = await new_enum(server, index, "PlantMode", [one.name for one in _Mode])
    ua.register_enum("PlantMode", mode.nodeid, _Mode)
    band = await _type(
        server,
        index,
        "PlantBand",
        [new_struct_field("Low", number), new_struct_field("High", number)],
    )
    hours = new_struct_field("Hours", ua.VariantType.UInt32)
    begin = await _type(
        server, index, "PlantStart", [hours, new_struct_field("At", time)], is_union=True
    )
    fields = [
        new_struct_field("Name", text),
        new_struct_field("Mode", mode.nodeid),
        new_struct_field("Band", band),
        new_struct_field("Steps", band, array=True),
        new_struct_field("Start", begin),
        new_struct_field("Note", text, optional=True),
    ]
    recipe = await _type(server, index, "PlantRecipe", fields)
    value = _overnight(recipe, band)
    found = {
        "Boiler.Recipe": await boiler.add_variable(
            ua.NodeId("Boiler.Recipe", index), f"{index}:Recipe", value, datatype=recipe
        ),
        "Boiler.Bands": await boiler.add_variable(
            ua.NodeId("Boiler.Bands", index), f"{index}:Bands", value.Steps, datatype=band
        ),
    }
    for node in found.values():
        await node.set_writable()
    return found


def _overnight(recipe: ua.NodeId, band: ua.NodeId) -> Any:  # noqa: ANN401 - of a class made at run time
    value = ua.extension_objects_by_datatype[recipe](
        Name="overnight", Mode=_Mode.Auto, Band=_band(band, 55, 65)
    )
    value.Steps = [_band(band, 20, 40), _band(band, 40, 60)]
    value.Start.At = datetime(2026, 1, 1, 22, tzinfo=UTC)
    return value


def _band(band: ua.NodeId, low: float, high: float) -> object:
    return ua.extension_objects_by_datatype[band](float(low), float(high))


async def _type(
    server: Server,
    index: int,
    name: str,
    fields: list[ua.StructureField],
    *,
    is_union: bool = False,
) -> ua.NodeId:
    node, (encoding,) = await new_struct(server, index, name, fields, is_union)
    await load_custom_struct(node)
    # Known to write by and not to read by, as on any other server: asyncua would let clients in
    # the same process have it unasked.
    ua.extension_objects_by_typeid.pop(encoding.nodeid, None)
    return node.nodeid
