"""What all devices of a mapper have in common."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dmi.clock import Clock
from dmi.readings import Quality
from mapper_sdk.devices.plan import Point
from mapper_sdk.devices.planning import AnyDriver
from mapper_sdk.events import DeviceEvent
from mapper_sdk.hub import Hub
from mapper_sdk.sessions.exchanges import Exchanges
from mapper_sdk.sessions.polling import Poller

__all__ = ["Surroundings"]


@dataclass(slots=True)
class Surroundings:
    """What all devices of a mapper have in common.

    Attributes:
        report_event: Takes what the devices tell of; returns at once.
        exchanges: Counts what reading takes, and what fails.
    """

    driver_class: type[AnyDriver]
    poller: Poller
    hub: Hub
    clock: Clock
    report_event: Callable[[DeviceEvent], None] = lambda event: None
    exchanges: Exchanges = field(default_factory=Exchanges)

    def publish_faults(self, points: Iterable[Point], reason: str, message: str) -> None:
        """Say that these points have no good value; not again where that is known."""
        now = self.clock.time()
        self.hub.publish(
            [
                (point, point.fail(reason, message or point.problem, now))
                for point in points
                if not _is_bad(point, reason)
            ]
        )


def _is_bad(point: Point, reason: str) -> bool:
    latest = point.latest
    return latest is not None and latest.quality is Quality.BAD and latest.reason == reason
