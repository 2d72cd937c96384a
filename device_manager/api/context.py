"""What every route works with."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, TypeAlias, TypeVar

from fastapi import Depends, Query, Request

from device_manager.dmi_service.server import DmiServer
from device_manager.node import Node
from device_manager.views import Json, device_view, state_view
from dmi.clock import Clock
from dmi.errors import NotFoundError
from dmi.resources import Device, Key

__all__ = ["Api", "Continue", "Limit", "TheApi", "page"]

Item = TypeVar("Item")
Name: TypeAlias = tuple[str, ...]

Limit: TypeAlias = Annotated[int, Query(ge=1, le=10_000, description="Most items of one answer.")]
Continue: TypeAlias = Annotated[
    str, Query(alias="continue", description="`continue` of the answer before; empty at first.")
]


@dataclass(frozen=True, slots=True)
class Api:
    """The node, its mappers, and the time."""

    node: Node
    dmi: DmiServer
    clock: Clock

    def device(self, namespace: str, name: str) -> Device:
        """A device.

        Raises:
            NotFoundError: There is none.
        """
        key = Key(namespace, name)
        found = self.node.devices.get(key)
        if found is None:
            raise NotFoundError(f"there is no device {key}")
        return found

    def view(self, device: Device) -> Json:
        """A device with its status, as REST gives it."""
        status = state_view(
            self.node.state(device.key),
            mapper=self.mapper_of(device),
            problem=self.node.problems.get(device.key, ""),
        )
        return device_view(device, status)

    def mapper_of(self, device: Device) -> str:
        """Name and instance of the mapper that serves a device; empty when none does."""
        session = self.dmi.leases.owner(device.key)
        if session is not None:
            return session.mapper
        protocol = device.spec.protocol.protocol_name
        others = [
            (record.last_seen, name)
            for name, record in self.node.mappers.items()
            if record.api != "v1" and record.protocol == protocol
        ]
        return max(others)[1] if others else ""


def _the_api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


TheApi: TypeAlias = Annotated[Api, Depends(_the_api)]


def page(items: Iterable[tuple[Name, Item]], limit: int, after: str) -> tuple[list[Item], str]:
    """Cut one page out of a list that is in order.

    Args:
        items: Name of each item, and the item, sorted by name; names have as many parts
            as each other, and only the last part may hold a slash.
        limit: Most items.
        after: What the page before said; empty for the first page.

    Returns:
        The items, and what to continue after; empty when this is the last page.
    """
    rest = (pair for pair in items if not after or pair[0] > _name(after, len(pair[0])))
    found = list(islice(rest, limit + 1))
    more = "/".join(found[limit - 1][0]) if len(found) > limit else ""
    return [item for _, item in found[:limit]], more


def _name(text: str, parts: int) -> Name:
    return tuple(text.split("/", parts - 1))
