"""One session with a server: endpoint, security, login, and requests within its limits."""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, TypeVarTuple
from urllib.parse import urlsplit

from asyncua import Client, ua
from asyncua.client.ua_session import UaSession
from asyncua.common.ua_utils import data_type_to_variant_type, get_default_value
from asyncua.crypto import security_policies, uacrypto
from asyncua.ua.uaerrors import UaError
from cryptography.exceptions import InvalidSignature

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    DmiError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from mappers.opcua.addresses import Address, Namespace
from mappers.opcua.config import OpcuaLink, SecurityMode, SecurityPolicy
from mappers.opcua.pki import File, application_uri, check_server, own_certificate, read_file
from mappers.opcua.refusals import error_of, status_error

__all__ = ["Channel", "Limits", "choose_endpoint"]

Result = TypeVar("Result")
One = TypeVar("One")
Arguments = TypeVarTuple("Arguments")

_POLICIES = {
    SecurityPolicy.BASIC256SHA256: security_policies.SecurityPolicyBasic256Sha256,
    SecurityPolicy.AES128: security_policies.SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicy.AES256: security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_BY_URI = {str(policy.URI): name for name, policy in _POLICIES.items()}
_MODES = {
    SecurityMode.SIGN: ua.MessageSecurityMode.Sign,
    SecurityMode.ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}
_LIBRARY_ERRORS = (UaError, OSError, TimeoutError, ValueError, InvalidSignature, struct.error)
"""What asyncua lets out of a request; anything else is a bug, and shall show as one."""


@dataclass(slots=True)
class Limits:
    """Most nodes that the server takes in one request."""

    read: int
    write: int
    items: int
    paths: int
    browse: int


class _Session(UaSession):  # type: ignore[misc]  # asyncua is not typed soundly
    """asyncua's session without its own publish loop: ours keeps count of what is missing."""

    def ensure_publish_loop(self) -> None:
        """Start nothing."""


class Channel:
    """A connected client, and its requests with errors of ours.

    Attributes:
        limits: Of the server; known when open.
        namespaces: URI to index; read at each opening, for it may change.
    """

    def __init__(self, link: OpcuaLink) -> None:
        self.link = link
        self.limits = Limits(*[link.max_nodes_per_call] * 5)
        self.namespaces: dict[str, int] = {}
        self._client: Client | None = None
        self._structures_known = False

    # ------------------------------------------------------------- its life ----

    async def open(self) -> None:
        """Connect and log in.

        Raises:
            DmiError: It cannot be done; nothing is held.
        """
        _silence_library()
        client = _new_client(self.link, self.link.address)
        what = f"connecting to {self.link.address}"
        try:
            self._client = client = await self._secured(client)
            # Not connect(): that would also start a supervisor with rules of its own.
            await client._connect_sequence()
            await self._learn()
        except _LIBRARY_ERRORS as error:
            await self.close()
            raise error_of(error, what) from error
        except (DmiError, asyncio.CancelledError):
            await self.close()
            raise

    async def reopen(self) -> bool:
        """Connect again after a cut, with the session from before if the server still has it.

        Returns:
            Whether it is the same session.

        Raises:
            DmiError: It cannot be done now.
        """
        client = self._connected()
        try:
            await client._teardown_transport_only()
            same: bool = await client._try_reactivate_existing_session()
            await self._learn()
        except _LIBRARY_ERRORS as error:
            raise error_of(error, f"connecting again to {self.link.address}") from error
        return same

    async def close(self) -> None:
        """Log out and disconnect; safe to call twice."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(1.0):
                await client.close_session()
                await client.close_secure_channel()
        except _LIBRARY_ERRORS:
            pass  # it is gone in any case
        finally:
            client.disconnect_socket()

    async def _secured(self, client: Client) -> Client:
        link = self.link
        if link.mode is SecurityMode.NONE and not link.follow_endpoint:
            await self._identify(client)
            return client
        endpoints = await client.connect_and_get_server_endpoints()
        endpoint = choose_endpoint(endpoints, link)
        if link.follow_endpoint:
            client = _new_client(link, endpoint.EndpointUrl)
        if link.mode is not SecurityMode.NONE:
            await self._protect(client, endpoint)
        await self._identify(client)
        return client

    async def _protect(self, client: Client, endpoint: ua.EndpointDescription) -> None:
        server = uacrypto.x509_from_der(endpoint.ServerCertificate)
        if server is None:
            raise AccessDeniedError("the server shows no certificate")
        der = uacrypto.der_from_x509(server)
        await asyncio.to_thread(check_server, self.link, der)
        certificate, key = await asyncio.to_thread(own_certificate, self.link)
        await client.set_security(
            _POLICIES[_BY_URI[endpoint.SecurityPolicyUri]],
            _properties(certificate),
            _properties(key),
            server_certificate=uacrypto.CertProperties(der),
            mode=_MODES[self.link.mode],
        )

    async def _identify(self, client: Client) -> None:
        link = self.link
        if link.user_name is not None:
            client.set_user(link.user_name)
            if link.password_file is not None:
                file = await asyncio.to_thread(read_file, link.password_file)
                client.set_password(file.content.decode().rstrip("\r\n"))
        if link.user_certificate is not None and link.user_private_key is not None:
            certificate = await asyncio.to_thread(read_file, link.user_certificate)
            key = await asyncio.to_thread(read_file, link.user_private_key)
            client.user_certificate = await uacrypto.load_certificate(
                certificate.content, certificate.encoding
            )
            client.user_private_key = await uacrypto.load_private_key(
                key.content, extension=key.encoding
            )

    async def _learn(self) -> None:
        """Read what holds for this life of the server: namespaces and limits."""
        ids = ua.ObjectIds
        prefix = "Server_ServerCapabilities_OperationLimits_"
        names = (
            *("MaxNodesPerRead", "MaxNodesPerWrite", "MaxMonitoredItemsPerCall"),
            *("MaxNodesPerTranslateBrowsePathsToNodeIds", "MaxNodesPerBrowse"),
        )
        nodes = [ua.NodeId(ids.Server_NamespaceArray)]
        nodes += [ua.NodeId(getattr(ids, prefix + name)) for name in names]
        array, *found = await self.session.read_attributes(nodes, ua.AttributeIds.Value)
        uris = array.Value.Value if array.Value is not None else None
        self.namespaces = {str(uri): index for index, uri in enumerate(uris or [])}
        most = self.link.max_nodes_per_call
        allowed = [data.Value.Value if data.Value is not None else None for data in found]
        self.limits = Limits(*(min(most, one) if one else most for one in allowed))

    @property
    def session(self) -> UaSession:
        """Asyncua's services.

        Raises:
            UnavailableError: It is not open.
        """
        session: UaSession = self._connected().uaclient.session
        return session

    @property
    def client(self) -> Client:
        """Asyncua's client."""
        return self._connected()

    def _connected(self) -> Client:
        if self._client is None:
            raise UnavailableError(f"{self.link.address}: not connected")
        return self._client

    # -------------------------------------------------------------- requests ----

    async def ask(
        self,
        what: str,
        call: Callable[[*Arguments], Awaitable[Result]],
        *arguments: *Arguments,
    ) -> Result:
        """Make one request.

        Raises:
            DmiError: The server refuses it or is away.
        """
        try:
            return await call(*arguments)
        except _LIBRARY_ERRORS as error:
            raise error_of(error, f"{what} at {self.link.address}") from error

    async def read(
        self, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds = ua.AttributeIds.Value
    ) -> list[ua.DataValue]:
        """Read an attribute of many nodes, in as few requests as the server allows."""
        found: list[ua.DataValue] = []
        for part in _parts(nodes, self.limits.read):
            parameters = ua.ReadParameters(
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                NodesToRead=[ua.ReadValueId(node, attribute) for node in part],
            )
            found += await self.ask("reading", self.session.read, parameters)
        return found

    async def write(self, node: ua.NodeId, value: ua.Variant) -> None:
        """Write a value, and nothing else: most servers refuse a status or a time beside it."""
        data = ua.DataValue(value, StatusCode=None)
        item = ua.WriteValue(NodeId=node, AttributeId=ua.AttributeIds.Value, Value=data)
        parameters = ua.WriteParameters(NodesToWrite=[item])
        (status,) = await self.ask("writing", self.session.write, parameters)
        if not status.is_good():
            raise status_error(status.value, f"writing {node.to_string()}")

    async def declared_type(self, node: ua.NodeId) -> ua.Variant:
        """An empty variant of the type that a node is declared to have.

        Raises:
            DmiError: The server does not tell.
        """
        (declared,) = await self.read([node], ua.AttributeIds.DataType)
        if declared.StatusCode is not None and declared.StatusCode.value & 0x80000000:
            raise status_error(declared.StatusCode.value, f"type of {node.to_string()}")
        kind = declared.Value
        rank = (await self.read([node], ua.AttributeIds.ValueRank))[0].Value
        if kind is None or not isinstance(kind.Value, ua.NodeId):
            raise RefusedError(f"{node.to_string()} does not say what type it has")
        base = await self.base_type(kind.Value)
        is_array = rank is not None and isinstance(rank.Value, int) and rank.Value >= 0
        value: object = [] if is_array else get_default_value(base)
        return ua.Variant(value, base, is_array=is_array)

    async def base_type(self, data_type: ua.NodeId) -> ua.VariantType:
        """The built-in type that a data type is made of."""
        node = self._connected().get_node(data_type)
        base: ua.VariantType = await self.ask("reading a type", data_type_to_variant_type, node)
        return base

    async def browse(self, node: ua.NodeId, classes: int) -> list[ua.ReferenceDescription]:
        """What hangs below a node: the nodes of some classes, by hierarchical references."""
        wanted = ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=ua.BrowseDirection.Forward,
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
            IncludeSubtypes=True,
            NodeClassMask=int(classes),
            ResultMask=ua.BrowseResultMask.All,
        )
        parameters = ua.BrowseParameters(RequestedMaxReferencesPerNode=0, NodesToBrowse=[wanted])
        (result,) = await self.ask("browsing", self.session.browse, parameters)
        found: list[ua.ReferenceDescription] = []
        while True:
            if not result.StatusCode.is_good():
                raise status_error(result.StatusCode.value, f"browsing {node.to_string()}")
            found += result.References or []
            if not result.ContinuationPoint:
                return found
            further = ua.BrowseNextParameters(ContinuationPoints=[result.ContinuationPoint])
            (result,) = await self.ask("browsing", self.session.browse_next, further)

    async def history(
        self, node: ua.NodeId, start: float, end: float, limit: int
    ) -> list[ua.DataValue]:
        """What the server keeps of a variable between two moments, oldest first."""
        moments = [datetime.fromtimestamp(moment, UTC) for moment in (start, end)]
        read = self._connected().get_node(node).read_raw_history
        values: list[ua.DataValue] = await self.ask(
            "reading history", read, moments[0], moments[1], limit, False
        )
        return values

    async def load_structures(self) -> None:
        """Read the definitions of the server's own structures, once."""
        if not self._structures_known:
            client = self._connected()
            await self.ask("reading structures", client.load_data_type_definitions)
            self._structures_known = True

    async def resolve(self, addresses: Iterable[Address]) -> dict[Address, ua.NodeId | DmiError]:
        """Find the nodes, or why one cannot be found."""
        found: dict[Address, ua.NodeId | DmiError] = {}
        paths: list[Address] = []
        for address in dict.fromkeys(addresses):
            missing = [uri for uri in address.namespaces if uri not in self.namespaces]
            if missing:
                found[address] = NotFoundError(f"the server has no namespace {missing[0]}")
            elif address.identifier is None:
                paths.append(address)
            else:
                index = self._index(address.namespace)
                found[address] = ua.NodeId(address.identifier, index)
        for part in _parts(paths, self.limits.paths):
            wanted = [self._browse_path(address) for address in part]
            call = self.session.translate_browsepaths_to_nodeids
            results = await self.ask("following browse paths", call, wanted)
            for address, result in zip(part, results, strict=True):
                found[address] = _target(address, result)
        return found

    def _index(self, namespace: Namespace) -> int:
        return namespace if isinstance(namespace, int) else self.namespaces[namespace]

    def _browse_path(self, address: Address) -> ua.BrowsePath:
        start = ua.ObjectIds.RootFolder if address.from_root else ua.ObjectIds.ObjectsFolder
        steps = [
            ua.RelativePathElement(
                ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
                IsInverse=False,
                IncludeSubtypes=True,
                TargetName=ua.QualifiedName(step.name, self._index(step.namespace)),
            )
            for step in address.path
        ]
        return ua.BrowsePath(ua.NodeId(start), ua.RelativePath(steps))


def choose_endpoint(
    endpoints: Sequence[ua.EndpointDescription], link: OpcuaLink
) -> ua.EndpointDescription:
    """The endpoint that has the policy and mode of the settings; the strongest of several.

    Raises:
        ConfigError: The server has none such; the text says which it has.
    """
    mode = _MODES.get(link.mode, ua.MessageSecurityMode.None_)
    known = {uri for uri, name in _BY_URI.items() if link.policy in {None, name}}
    if link.policy is SecurityPolicy.NONE:
        known = {str(security_policies.SecurityPolicyNone.URI)}
    fitting = [e for e in endpoints if e.SecurityMode == mode and e.SecurityPolicyUri in known]
    if fitting:
        return max(fitting, key=lambda endpoint: endpoint.SecurityLevel or 0)
    offered = {f"{e.SecurityPolicyUri.rpartition('#')[2]}/{e.SecurityMode.name}" for e in endpoints}
    raise ConfigError(
        f"the server has no endpoint with {link.policy or 'any policy'} and {link.mode}; "
        f"it has {', '.join(sorted(offered)).replace('None_', 'None')}"
    )


def _new_client(link: OpcuaLink, url: str) -> Client:
    client = Client(url, timeout=link.timeout)
    client.name = client.description = "dmi-toolkit"
    client.application_uri = application_uri(link)
    client.session_timeout = int(link.session_timeout * 1000)
    if not urlsplit(url).port:
        raise ConfigError(f"the server's endpoint {url} has no port")
    client.uaclient.session = _Session(client.uaclient)
    return client


def _properties(file: File) -> uacrypto.CertProperties:
    return uacrypto.CertProperties(file.content, file.encoding)


def _target(address: Address, result: ua.BrowsePathResult) -> ua.NodeId | DmiError:
    if not result.StatusCode.is_good():
        return status_error(result.StatusCode.value, f"the way to {address}")
    if not result.Targets:
        return NotFoundError(f"the way to {address} leads nowhere")
    target = result.Targets[0].TargetId
    return ua.NodeId(target.Identifier, target.NamespaceIndex)


def _parts(whole: Sequence[One], size: int) -> Iterable[Sequence[One]]:
    return (whole[start : start + size] for start in range(0, len(whole), size))


def _silence_library() -> None:
    """Each thing that asyncua would log reaches the caller as an error."""
    log = logging.getLogger("asyncua")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL + 1)
