"""The driver of kiln: speaks its protocol, and nothing else.

The device listens on TCP and answers lines: `GET item` with a JSON value, `SET item value`
with `OK`; either with `ERR reason`. Replace this protocol by that of your device.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from dmi.errors import RefusedError, UnavailableError
from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver


class KilnLink(BaseModel, extra="forbid"):
    """How the device is reached: `spec.protocol.configData`."""

    host: str = "127.0.0.1"
    port: int = Field(default=4001, ge=1, le=65535)


class KilnVisit(BaseModel, extra="forbid"):
    """How one property is reached: `visitors.configData`."""

    item: str


class KilnDriver(Driver[KilnLink, KilnVisit]):
    """One connection to one kiln."""

    protocol_name: ClassVar = "kiln"
    link_model: ClassVar = KilnLink
    visit_model: ClassVar = KilnVisit
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        """Open the connection."""
        try:
            self._streams = await asyncio.open_connection(self.link.host, self.link.port)
        except OSError as error:
            raise UnavailableError(f"{self.link.host}:{self.link.port}: {error}") from error

    async def read(self, visits: Sequence[KilnVisit]) -> Sequence[Answer]:
        """Ask for everything at once; the answers come in the same order."""
        answers = await self._exchange([f"GET {visit.item}" for visit in visits])
        return [_value(answer) for answer in answers]

    async def write(self, visit: KilnVisit, value: Value) -> None:
        """Set one item; the device confirms it."""
        (answer,) = await self._exchange([f"SET {visit.item} {json.dumps(value)}"])
        if answer != "OK":
            raise RefusedError(answer)

    async def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, requests: Sequence[str]) -> list[str]:
        if self._streams is None:
            raise UnavailableError("not connected")
        reader, writer = self._streams
        try:
            writer.writelines(f"{request}\n".encode() for request in requests)
            await writer.drain()
            lines = [await reader.readuntil() for _ in requests]
        except (OSError, EOFError) as error:
            raise UnavailableError(f"connection lost: {error}") from error
        return [line.decode().strip() for line in lines]


def _value(answer: str) -> Answer:
    if answer.startswith("ERR"):
        return RefusedError(answer)
    value: Value = json.loads(answer)
    return value
