"""Devices and models proposed from a server's address space."""

import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from dmi.errors import DmiError
from mapper_sdk.driver import Proposal
from mappers.opcua.addresses import parse_path
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.space import base_type, browse, browse_all, resolve, written
from mappers.opcua.values.refusals import is_gone

__all__ = ["propose"]

log = logging.getLogger(__name__)

_DEPTH = 12
_MOST = 20_000
"""Variables of one device; more than that is no device that anybody wants."""
_STEP = 1000
"""Nodes between two words of how far it is."""
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
_READ, _WRITE = 1, 2
"""Bits of UserAccessLevel. Source: OPC UA Part 3, 8.57."""


@dataclass(slots=True)
class _Found:
    name: str
    node: ua.NodeId
    type: str
    writable: bool


@dataclass(slots=True)
class _Survey:
    """One object that is looked through.

    Attributes:
        left_out: How many things are missing in the proposal, by the reason.
    """

    channel: Channel
    name: str
    left_out: Counter[str] = field(default_factory=Counter)
    _kinds: dict[ua.NodeId, ua.VariantType] = field(default_factory=dict)

    async def variables(self, top: ua.NodeId) -> list[_Found]:
        """All variables below an object, each once, by the shortest way that leads to it."""
        found: list[_Found] = []
        known = {top}
        level: list[tuple[tuple[str, ...], ua.NodeId]] = [((), top)]
        for depth in range(_DEPTH):
            nodes: list[tuple[tuple[str, ...], ua.NodeId]] = []
            deeper: list[tuple[tuple[str, ...], ua.NodeId]] = []
            for path, one in await self._below(level):
                if one.NodeId in known:
                    continue
                known.add(one.NodeId)
                is_variable = one.NodeClass == ua.NodeClass.Variable
                (nodes if is_variable else deeper).append((path, one.NodeId))
            room = _MOST - len(found)
            self.left_out[f"variables beyond the first {_MOST}"] += max(0, len(nodes) - room)
            found += await self._described(nodes[:room])
            if depth == _DEPTH - 1:
                self.left_out[f"objects more than {_DEPTH} levels down"] += len(deeper)
            level = deeper
            if not level or len(found) >= _MOST:
                break
        return found

    async def _below(
        self, level: Sequence[tuple[tuple[str, ...], ua.NodeId]]
    ) -> list[tuple[tuple[str, ...], ua.ReferenceDescription]]:
        """What hangs below the objects of one level, and the ways to it."""
        classes = ua.NodeClass.Object | ua.NodeClass.Variable
        found: list[tuple[tuple[str, ...], ua.ReferenceDescription]] = []
        for start in range(0, len(level), _STEP):
            part = level[start : start + _STEP]
            results = await browse_all(self.channel, [node for _, node in part], classes)
            for (way, node), result in zip(part, results, strict=True):
                if isinstance(result, DmiError):
                    self.left_out["objects that the server does not let us look into"] += 1
                    log.debug("%s: %s", node.to_string(), result)
                    continue
                found += [((*way, str(one.BrowseName.Name)), one) for one in result]
            self._progress("found", len(found))
        return found

    async def _described(self, nodes: Sequence[tuple[tuple[str, ...], ua.NodeId]]) -> list[_Found]:
        """What the variables are; one that cannot be read is left out."""
        attributes = (
            ua.AttributeIds.DataType,
            ua.AttributeIds.ValueRank,
            ua.AttributeIds.UserAccessLevel,
        )
        found: list[_Found] = []
        for start in range(0, len(nodes), _STEP):
            part = nodes[start : start + _STEP]
            ids = [node for _, node in part]
            columns = [await self.channel.read(ids, one) for one in attributes]
            for (path, node), kind, rank, access in zip(part, *columns, strict=True):
                level = _plain(access)
                if isinstance(level, int) and not level & _READ:
                    self.left_out["variables that we may not read"] += 1
                    continue
                type_name = await self._type(node, _plain(kind), _plain(rank))
                writable = isinstance(level, int) and bool(level & _WRITE)
                found.append(_Found(_word("-".join(path)), node, type_name, writable))
            self._progress("described", len(nodes[: start + _STEP]))
        return found

    async def _type(self, node: ua.NodeId, kind: object, rank: object) -> str:
        """KubeEdge's type of a variable; arrays and everything composed are text of JSON."""
        if not isinstance(kind, ua.NodeId):
            return "STRING"
        if kind not in self._kinds:
            try:
                self._kinds[kind] = await base_type(self.channel, kind)
            except DmiError as error:
                if is_gone(error):
                    raise
                self._kinds[kind] = ua.VariantType.Variant
        base = self._kinds[kind]
        is_array = isinstance(rank, int) and rank >= 0
        if base is ua.VariantType.Variant or rank in {-2, -3}:
            # Declared as anything: what it holds now is the best there is to go by.
            (data,) = await self.channel.read([node])
            if data.Value is not None:
                base, is_array = data.Value.VariantType, bool(data.Value.is_array)
        return "STRING" if is_array else _TYPES.get(base, "STRING")

    def _progress(self, what: str, nodes: int) -> None:
        if nodes >= _STEP:
            log.info("%s: %s %d nodes", self.name, what, nodes)

    def tell_what_is_missing(self) -> None:
        """Say it once, with numbers."""
        for reason, count in self.left_out.items():
            if count:
                log.warning("%s: left out %d %s", self.name, count, reason)


def _plain(data: ua.DataValue) -> object:
    return None if data.Value is None else data.Value.Value


async def propose(
    channel: Channel, link: dict[str, Any], root: str | None
) -> AsyncIterator[Proposal]:
    """Propose one device for each object below the Objects folder, or one for `root`.

    How far it is and what is left out is logged.

    Args:
        channel: An open session.
        link: Settings of the connection, as they go into the device.
        root: Browse path of the only object to look at.
    """
    for name, node in await _objects(channel, root):
        survey = _Survey(channel, name)
        variables = await survey.variables(node)
        survey.tell_what_is_missing()
        if variables:
            yield _proposal(channel, link, name, variables)
        else:
            log.info("%s: no variables below it", name)


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
        visitor = {"protocolName": "opcua", "configData": {"nodeID": written(channel, one.node)}}
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
