"""All of a mapper's targets together: readings go in, and what can be known of them comes out."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dmi.resources import Key
from mapper_sdk.delivery.history import History
from mapper_sdk.delivery.status import Gap, TargetStatus

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Delivery"]


class Delivery:
    """Brings readings to every target that settings and Devices name.

    Attributes:
        history: The embedded store of the past; None where there is none.
    """

    def __init__(self) -> None:
        self.history: History | None = None

    def targets(self) -> list[TargetStatus]:
        """How each target does now, by name; with those that are only left on disk."""
        return []

    def gaps(
        self,
        target: str | None = None,
        device: Key | None = None,
        property_: str | None = None,
        since: float | None = None,
        limit: int = 1000,
    ) -> list[Gap]:
        """What was lost, newest first.

        Args:
            target: Of this target only.
            device: Of this device only.
            property_: Of properties of this name only.
            since: Only gaps that last until this source time or later, seconds since 1970.
            limit: Most gaps to give.
        """
        return []

    def problems(self) -> Mapping[Key, Mapping[str, str]]:
        """Why a property does not go where its Device's `pushMethod` says, by device.

        Each text begins with the path in the Device, as other problems of properties do.
        """
        return {}

    def metrics(self) -> "Iterator[Metric]":
        """Give the present figures of all targets for Prometheus."""
        return iter(())
