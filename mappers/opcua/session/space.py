"""The address space of a server: finding nodes, what hangs below them, and their types."""

from collections.abc import Iterable, Sequence

from asyncua import ua
from asyncua.common.ua_utils import data_type_to_variant_type, get_default_value

from dmi.errors import DmiError, NotFoundError, RefusedError
from mappers.opcua.addresses import Address, Namespace
from mappers.opcua.session.channel import Channel, parts
from mappers.opcua.session.types import learn_type
from mappers.opcua.values.refusals import status_error

__all__ = [
    "base_type",
    "browse",
    "browse_all",
    "declared_type",
    "empty_variant",
    "found",
    "resolve",
    "written",
]

_FORWARD_LIMIT = 1000
"""Most references of one node in one answer: a node may have more than fit into a message."""
_NO_MORE_POINTS = ua.StatusCodes.BadNoContinuationPoints
"""The server remembers only so many unfinished lists at once: this node must be asked alone."""


async def resolve(
    channel: Channel, addresses: Iterable[Address]
) -> dict[Address, ua.NodeId | DmiError]:
    """Find the nodes, or why one cannot be found."""
    found: dict[Address, ua.NodeId | DmiError] = {}
    paths: list[Address] = []
    for address in dict.fromkeys(addresses):
        missing = [uri for uri in address.namespaces if uri not in channel.namespaces]
        if missing:
            found[address] = NotFoundError(f"the server has no namespace {missing[0]}")
        elif address.identifier is None:
            paths.append(address)
        else:
            index = _index(channel, address.namespace)
            found[address] = ua.NodeId(address.identifier, index)
    for part in parts(paths, channel.limits.paths):
        wanted = [_browse_path(channel, address) for address in part]
        call = channel.session.translate_browsepaths_to_nodeids
        results = await channel.ask("following browse paths", call, wanted)
        for address, result in zip(part, results, strict=True):
            found[address] = _target(address, result)
    return found


async def found(channel: Channel, address: Address) -> ua.NodeId:
    """Find one node.

    Raises:
        DmiError: It cannot be found.
    """
    node = (await resolve(channel, [address]))[address]
    if isinstance(node, DmiError):
        raise node
    return node


def written(channel: Channel, node: ua.NodeId) -> str:
    """A node id by its namespace's URI, which a restart does not change."""
    text = str(node.to_string())
    if node.NamespaceIndex == 0:
        return text
    uris = {index: uri for uri, index in channel.namespaces.items()}
    uri = uris.get(node.NamespaceIndex)
    return f"nsu={uri};{text.partition(';')[2]}" if uri else text


def _index(channel: Channel, namespace: Namespace) -> int:
    return namespace if isinstance(namespace, int) else channel.namespaces[namespace]


def _browse_path(channel: Channel, address: Address) -> ua.BrowsePath:
    start = ua.ObjectIds.RootFolder if address.from_root else ua.ObjectIds.ObjectsFolder
    steps = [
        ua.RelativePathElement(
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
            IsInverse=False,
            IncludeSubtypes=True,
            TargetName=ua.QualifiedName(step.name, _index(channel, step.namespace)),
        )
        for step in address.path
    ]
    return ua.BrowsePath(ua.NodeId(start), ua.RelativePath(steps))


def _target(address: Address, result: ua.BrowsePathResult) -> ua.NodeId | DmiError:
    if not result.StatusCode.is_good():
        return status_error(result.StatusCode.value, f"the way to {address}")
    if not result.Targets:
        return NotFoundError(f"the way to {address} leads nowhere")
    target = result.Targets[0].TargetId
    return ua.NodeId(target.Identifier, target.NamespaceIndex)


async def browse(channel: Channel, node: ua.NodeId, classes: int) -> list[ua.ReferenceDescription]:
    """What hangs below a node: the nodes of some classes, by hierarchical references.

    Raises:
        DmiError: The server does not tell.
    """
    (found,) = await browse_all(channel, [node], classes)
    if isinstance(found, DmiError):
        raise found
    return found


async def browse_all(
    channel: Channel, nodes: Sequence[ua.NodeId], classes: int
) -> list[list[ua.ReferenceDescription] | DmiError]:
    """What hangs below each of some nodes, in as few requests as the server allows."""
    found: list[list[ua.ReferenceDescription] | DmiError] = []
    for part in parts(nodes, channel.limits.browse):
        wanted = [_description(node, classes) for node in part]
        parameters = ua.BrowseParameters(
            RequestedMaxReferencesPerNode=_FORWARD_LIMIT, NodesToBrowse=wanted
        )
        results = await channel.ask("browsing", channel.session.browse, parameters)
        for node, result in zip(part, results, strict=True):
            if len(part) > 1 and result.StatusCode.value == _NO_MORE_POINTS:
                found += await browse_all(channel, [node], classes)
            else:
                found.append(await _with_the_rest(channel, node, result))
    return found


def _description(node: ua.NodeId, classes: int) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
        IncludeSubtypes=True,
        NodeClassMask=int(classes),
        ResultMask=ua.BrowseResultMask.All,
    )


async def _with_the_rest(
    channel: Channel, node: ua.NodeId, result: ua.BrowseResult
) -> list[ua.ReferenceDescription] | DmiError:
    """The references of one node, those included that did not fit into the first answer."""
    found: list[ua.ReferenceDescription] = []
    while True:
        if not result.StatusCode.is_good():
            return status_error(result.StatusCode.value, f"browsing {node.to_string()}")
        found += result.References or []
        if not result.ContinuationPoint:
            return found
        further = ua.BrowseNextParameters(ContinuationPoints=[result.ContinuationPoint])
        (result,) = await channel.ask("browsing", channel.session.browse_next, further)


async def declared_type(channel: Channel, node: ua.NodeId) -> ua.Variant:
    """An empty variant of the type that a node is declared to have.

    Raises:
        DmiError: The server does not tell.
    """
    (declared,) = await channel.read([node], ua.AttributeIds.DataType)
    if declared.StatusCode is not None and declared.StatusCode.value & 0x80000000:
        raise status_error(declared.StatusCode.value, f"type of {node.to_string()}")
    kind = declared.Value
    rank = (await channel.read([node], ua.AttributeIds.ValueRank))[0].Value
    if kind is None or not isinstance(kind.Value, ua.NodeId):
        raise RefusedError(f"{node.to_string()} does not say what type it has")
    is_array = rank is not None and isinstance(rank.Value, int) and rank.Value >= 0
    return await empty_variant(channel, kind.Value, is_array=is_array)


async def empty_variant(channel: Channel, data_type: ua.NodeId, *, is_array: bool) -> ua.Variant:
    """A variant of a data type as a pattern to write by.

    Raises:
        DmiError: The server does not tell what it is.
    """
    base = await base_type(channel, data_type)
    if base is ua.VariantType.ExtensionObject:
        pattern = await learn_type(channel, data_type)
        return ua.Variant([pattern] if is_array else pattern, base, is_array=is_array)
    return ua.Variant([] if is_array else get_default_value(base), base, is_array=is_array)


async def base_type(channel: Channel, data_type: ua.NodeId) -> ua.VariantType:
    """The built-in type that a data type is made of."""
    node = channel.client.get_node(data_type)
    base: ua.VariantType = await channel.ask("reading a type", data_type_to_variant_type, node)
    return base
