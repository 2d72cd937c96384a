"""One session with a server, and requests within its limits."""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, TypeVarTuple

from asyncua import Client, ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.uaerrors import UaError
from cryptography.exceptions import InvalidSignature

from dmi.errors import DmiError, UnavailableError
from mappers.opcua.config import OpcuaLink
from mappers.opcua.session.endpoints import connection_error, prepared_client
from mappers.opcua.values.refusals import error_of, status_error
from mappers.opcua.values.structures import Structures

__all__ = ["Channel", "Limits", "parts"]

Result = TypeVar("Result")
One = TypeVar("One")
Arguments = TypeVarTuple("Arguments")

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


class Channel:
    """A connected client, and its requests with errors of ours.

    Attributes:
        limits: Of the server; known when open.
        namespaces: URI to index; read at each opening, for it may change.
        structures: Those that the server has defined itself, as far as they were needed.
        session_seconds: How long the server keeps the session without hearing of us.
        life: Number of the session; what was found by an index holds within one.
    """

    def __init__(self, link: OpcuaLink) -> None:
        self.link = link
        self.limits = Limits(*[link.max_nodes_per_call] * 5)
        self.namespaces: dict[str, int] = {}
        self._client: Client | None = None
        self.structures = Structures()
        self.session_seconds = link.session_timeout
        self.life = 0

    # ------------------------------------------------------------- its life ----

    async def open(self) -> None:
        """Connect and log in.

        Raises:
            DmiError: It cannot be done; nothing is held.
        """
        _silence_library()
        what = f"connecting to {self.link.address}"
        try:
            self._client = client = await prepared_client(self.link)
            # Not connect(): that would also start a supervisor with rules of its own.
            await client._connect_sequence()
            self.life += 1
            await self._learn()
        except (*_LIBRARY_ERRORS, AssertionError) as error:
            await self.close()
            raise connection_error(error, self.link, what) from error
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
            if not same:
                self.structures.forget()
                self.life += 1
            await self._learn()
        except (*_LIBRARY_ERRORS, AssertionError) as error:
            what = f"connecting again to {self.link.address}"
            raise connection_error(error, self.link, what) from error
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

    async def _learn(self) -> None:
        """Read what holds for this life of the server: namespaces and limits."""
        # Servers may grant less than was asked for.
        granted = self._connected().session_timeout / 1000
        self.session_seconds = min(self.link.session_timeout, granted)
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
        for part in parts(nodes, self.limits.read):
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


def parts(whole: Sequence[One], size: int) -> Iterable[Sequence[One]]:
    """A sequence in pieces that a request may hold."""
    return (whole[start : start + size] for start in range(0, len(whole), size))


def _silence_library() -> None:
    """Each thing that asyncua would log reaches the caller as an error."""
    log = logging.getLogger("asyncua")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL + 1)
