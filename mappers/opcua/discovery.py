"""Devices and models proposed from a server's address space."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from dmi.errors import DmiError
from mapper_sdk.driver import Proposal
from mappers.opcua.addresses import parse_path
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.space import browse, declared_type, resolve

__all__ = ["propose"]

_DEPTH = 8
_MOST = 2000
_OWN = frozenset({"Server", "Aliases", "Locations"})
_TYPES = {
    ua.VariantType.Boolean: "BOOLEAN",
    ua.VariantType.Float: "FLOAT",
    ua.VariantType.Double: "DOUBLE",
    ua.VariantType.ByteString: "BYTES",
} | {
    kind: "INT"
    for kind in ua.VariantType
    if kind.name in {"SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64"}
}
_WRITE = 2
"""Bit of UserAccessLevel. Source: OPC UA Part 3, 8.57."""


@dataclass(slots=True)
class _Found:
    name: str
    node: ua.NodeId
    type: str
    writable: bool


async def propose(
    channel: Channel, link: dict[str, Any], root: str | None
) -> AsyncIterator[Proposal]:
    """Propose one device for each object below the Objects folder, or one for `root`.

    Args:
        channel: An open session.
        link: Settings of the connection, as they go into the device.
        root: Browse path of the only object to look at.
    """
    objects = await _objects(channel, root)
    for name, node in objects:
        variables = await _variables(channel, node)
        if variables:
            yield _proposal(channel, link, name, variables)


async def _objects(channel: Channel, root: str | None) -> list[tuple[str, ua.NodeId]]:
    if root is not None:
        address = parse_path(root)
        node = (await resolve(channel, [address]))[address]
        if isinstance(node, DmiError):
            raise node
        return [(address.path[-1].name, node)]
    folder = ua.NodeId(ua.ObjectIds.ObjectsFolder)
    below = await browse(channel, folder, ua.NodeClass.Object)
    named = [(str(one.BrowseName.Name), one.NodeId) for one in below]
    return [(name, node) for name, node in named if name not in _OWN]


async def _variables(channel: Channel, top: ua.NodeId) -> list[_Found]:
    """All variables below an object, each once, by the way that leads to it."""
    found: list[_Found] = []
    seen = {top}
    level: list[tuple[tuple[str, ...], ua.NodeId]] = [((), top)]
    for _ in range(_DEPTH):
        deeper: list[tuple[tuple[str, ...], ua.NodeId]] = []
        for way, node in level:
            for one in await browse(channel, node, ua.NodeClass.Object | ua.NodeClass.Variable):
                if one.NodeId in seen or len(found) >= _MOST:
                    continue
                seen.add(one.NodeId)
                path = (*way, str(one.BrowseName.Name))
                if one.NodeClass == ua.NodeClass.Object:
                    deeper.append((path, one.NodeId))
                else:
                    found.append(await _variable(channel, path, one.NodeId))
        level = deeper
    return found


async def _variable(channel: Channel, path: tuple[str, ...], node: ua.NodeId) -> _Found:
    (data,) = await channel.read([node])
    (access,) = await channel.read([node], ua.AttributeIds.UserAccessLevel)
    kind, is_array = ua.VariantType.String, False
    if data.Value is not None:
        kind, is_array = data.Value.VariantType, bool(data.Value.is_array)
    if kind is ua.VariantType.Null:
        try:
            like = await declared_type(channel, node)
            kind, is_array = like.VariantType, bool(like.is_array)
        except DmiError:
            pass
    level = access.Value.Value if access.Value is not None else 0
    type_name = "STRING" if is_array else _TYPES.get(kind, "STRING")
    return _Found(_word("-".join(path)), node, type_name, bool((level or 0) & _WRITE))


def _word(text: str) -> str:
    """A name that KubeEdge takes: lower case, digits and dashes."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text)
    return re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-")[:63].strip("-") or "node"


def _proposal(
    channel: Channel, link: dict[str, Any], name: str, variables: list[_Found]
) -> Proposal:
    word = _word(name)
    names: dict[str, int] = {}
    properties, visitors = [], []
    for one in variables:
        count = names[one.name] = names.get(one.name, 0) + 1
        prop = one.name if count == 1 else f"{one.name}-{count}"
        mode = "ReadWrite" if one.writable else "ReadOnly"
        properties.append({"name": prop, "type": one.type, "accessMode": mode})
        visitor = {"protocolName": "opcua", "configData": {"nodeID": _written(channel, one.node)}}
        visitors.append({"name": prop, "collectCycle": 1000, "visitors": visitor})
    version = "devices.kubeedge.io/v1beta1"
    model = {
        "apiVersion": version,
        "kind": "DeviceModel",
        "metadata": {"name": f"{word}-model", "namespace": "default"},
        "spec": {"protocol": "opcua", "properties": properties},
    }
    device = {
        "apiVersion": version,
        "kind": "Device",
        "metadata": {"name": word, "namespace": "default"},
        "spec": {
            "deviceModelRef": {"name": f"{word}-model"},
            "protocol": {"protocolName": "opcua", "configData": link},
            "properties": visitors,
        },
    }
    return Proposal(model, device)


def _written(channel: Channel, node: ua.NodeId) -> str:
    """A node id by its namespace's URI, which a restart does not change."""
    text = str(node.to_string())
    if node.NamespaceIndex == 0:
        return text
    uris = {index: uri for uri, index in channel.namespaces.items()}
    uri = uris.get(node.NamespaceIndex)
    return f"nsu={uri};{text.partition(';')[2]}" if uri else text
