"""What is to be read next of one device: its points by collect cycle, and who asked for more."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from mapper_sdk.devices.plan import Point
from mapper_sdk.sessions.polling import Poller, Ticket

__all__ = ["Collection", "Group", "Look"]


_LOOKS_PER_SILENCE = 4
"""A look that comes a moment too early passes nothing on; the next one shall not be far."""


@dataclass(slots=True, eq=False)
class Group:
    """Points that are always read together, and their visits in the same order.

    Attributes:
        busy: It is due, or being read now: a further tick cannot be taken.
        failing: At the last look not one of its points could be reached.
    """

    points: list[Point]
    visits: list[BaseModel]
    ticket: Ticket | None = None
    busy: bool = False
    failing: bool = False


@dataclass(slots=True)
class Look:
    """One read: of whole groups, and perhaps of points that somebody asked for."""

    points: Sequence[Point]
    visits: Sequence[BaseModel]
    groups: list[Group] = field(default_factory=list)


class Collection:
    """The groups of one connected device. It only keeps the books; a connection reads."""

    def __init__(self, poller: Poller, ring: Callable[[], None]) -> None:
        """Start without points.

        Args:
            poller: Where the groups' ticks come from.
            ring: Called when something has become due.
        """
        self._poller = poller
        self._ring = ring
        self._groups: list[Group] = []
        self._due: list[Group] = []
        self._asked: dict[Point, None] = {}

    @property
    def has_due(self) -> bool:
        """Whether there is anything to read now."""
        return bool(self._due or self._asked)

    @property
    def all_failing(self) -> bool:
        """Whether no group reached the device when it was last read."""
        return all(group.failing for group in self._groups)

    def arrange(
        self, points: Iterable[Point], least_ms: int = 0, pushed: Iterable[Point] = ()
    ) -> None:
        """Read these points from now on, each in its own cycle, and no others.

        Args:
            points: What is read.
            least_ms: None of them is read more often than this.
            pushed: What the device sends by itself: read only as often as an unchanged value
                is to be reported all the same, for the device sends none then. To read it is
                the only way to know that it still holds.
        """
        cycles: dict[int, list[Point]] = {}
        for point in points:
            cycles.setdefault(max(point.collect_ms, least_ms), []).append(point)
        for point in pushed:
            if point.silence_ms:
                cycle = max(point.collect_ms, point.silence_ms // _LOOKS_PER_SILENCE)
                cycles.setdefault(cycle, []).append(point)
        before, self._groups = self._groups, []
        known = {group.ticket.period: group for group in before if group.ticket}
        for cycle, members in cycles.items():
            # A cycle that stays keeps its rhythm.
            group = known.pop(cycle / 1000, None)
            if group is None:
                group = Group([], [])
                group.ticket = self._poller.every(cycle / 1000, self._tick(group))
            group.points = members
            group.visits = [point.visit for point in members]
            self._groups.append(group)
        kept = set(self._groups)
        for group in before:
            if group not in kept:
                self._retire(group)
        self._due = [group for group in self._due if group in kept]

    def stop(self) -> None:
        """Nothing is due any more."""
        for group in self._groups:
            self._retire(group)
        self._groups = []
        self._due = []
        self._asked = {}

    def ask(self, points: Iterable[Point]) -> None:
        """Read these points as soon as possible, once."""
        self._asked.update(dict.fromkeys(points))
        self._ring()

    def probe(self) -> None:
        """Read everything as soon as possible: is the device still there?"""
        for group in self._groups:
            if not group.busy and not group.failing:
                group.busy = True
                self._due.append(group)
        self._ring()

    def next_look(self) -> Look:
        """Take everything that is due, each point once."""
        due, self._due = self._due, []
        asked, self._asked = self._asked, {}
        if len(due) == 1 and not asked:
            return Look(due[0].points, due[0].visits, due)
        points = dict.fromkeys(point for group in due for point in group.points)
        # The declaration may have changed since they were asked for.
        points.update((point, None) for point in asked if not point.problem)
        return Look(list(points), [point.visit for point in points], due)

    def done(self, look: Look, failing: bool) -> None:
        """A look is over: its groups can be due again."""
        for group in look.groups:
            group.busy = False
            group.failing = failing

    def _tick(self, group: Group) -> Callable[[], bool]:
        def tick() -> bool:
            if group.busy:
                return False
            group.busy = True
            self._due.append(group)
            self._ring()
            return True

        return tick

    def _retire(self, group: Group) -> None:
        if group.ticket is not None:
            self._poller.cancel(group.ticket)
            group.ticket = None
