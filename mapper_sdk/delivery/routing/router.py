"""From properties to targets: found out once per device and plan, and followed at little cost."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from dmi.errors import ConfigError, UnsupportedError
from dmi.mistakes import YamlPath
from dmi.readings import Reading
from mapper_sdk.delivery.config import SelectConfig, SinkConfig
from mapper_sdk.delivery.routing.pacing import Way
from mapper_sdk.delivery.routing.push import declared_pushes
from mapper_sdk.delivery.routing.targets import SinkClassOf, Targets, validated
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.delivery.worker import Worker
from mapper_sdk.devices.plan import Plan, Point

__all__ = ["DeviceWays", "Lane", "Router", "Rule", "Spread"]

log = logging.getLogger(__name__)

_SHAPES: Final = 256


class Lane(NamedTuple):
    """What one target gets of a batch in which these points are, in this order.

    Attributes:
        worker: Who serves the target.
        routes: Of the points that it gets.
        pick: Takes their readings out of all; None where it gets all.
    """

    worker: Worker
    routes: Sequence[Route[Any]]
    pick: Callable[[Sequence[Reading]], Sequence[Reading]] | None


class Spread(NamedTuple):
    """Where the readings of a batch go in which these points are, in this order."""

    lanes: Sequence[Lane]
    paced: Sequence[tuple[int, Way]]


class Rule(NamedTuple):
    """A sink of the mapper's settings, with its worker and its place."""

    sink: SinkConfig
    worker: Worker
    place: BaseModel


@dataclass(slots=True, eq=False)
class DeviceWays:
    """Where the properties of one device go, as one revision of its plan says.

    Attributes:
        plan: The plan.
        revision: Which one of it.
        ways: By property.
        problems: Why a property does not go where its pushMethod says, by property.
        spreads: What follows for a batch, by the points in it.
    """

    plan: Plan
    revision: int
    ways: dict[str, list[Way]]
    problems: dict[str, str]
    spreads: dict[Sequence[Point], Spread] = field(default_factory=dict)

    def spread(self, points: Sequence[Point]) -> Spread:
        """Give where a batch with these points goes."""
        found = self.spreads.get(points)
        if found is None:
            if len(self.spreads) >= _SHAPES:
                # Points that report on change make ever new batches.
                self.spreads.clear()
            found = self.spreads[points] = self._spread(points)
        return found

    def workers(self) -> Iterator[Worker]:
        """All that anything of the device goes to, as often as it does."""
        for ways in self.ways.values():
            yield from (way.worker for way in ways)

    def _spread(self, points: Sequence[Point]) -> Spread:
        lanes: dict[Worker, tuple[list[int], list[Route[Any]]]] = {}
        paced: list[tuple[int, Way]] = []
        for index, point in enumerate(points):
            for way in self.ways.get(point.name, ()):
                if way.pace:
                    paced.append((index, way))
                else:
                    indexes, routes = lanes.setdefault(way.worker, ([], []))
                    indexes.append(index)
                    routes.append(way.route)
        return Spread(
            [
                Lane(worker, tuple(routes), _picker(indexes, len(points)))
                for worker, (indexes, routes) in lanes.items()
            ],
            paced,
        )


class Router:
    """Finds the ways of a device's properties: by the mapper's rules and by pushMethod."""

    def __init__(self, rules: Sequence[Rule], targets: Targets, class_of: SinkClassOf) -> None:
        self._rules = rules
        self._targets = targets
        self._class_of = class_of

    def ways(self, plan: Plan, before: DeviceWays | None) -> DeviceWays:
        """Find all ways of a device, keeping the routes that stay what they were.

        A pushMethod that is wrong is a problem of its property alone; what is new of that is
        logged.
        """
        known = before.ways if before is not None else {}
        places = {prop.name: n for n, prop in reversed([*enumerate(plan.device.spec.properties)])}
        found = DeviceWays(plan, plan.revision, {}, {})
        for point in plan.points.values():
            source = Source(
                plan.key,
                point.name,
                point.type,
                point.unit,
                plan.device.spec.device_model_ref.name,
                plan.labels,
            )
            ways: list[Way] = []
            for way in self._by_rules(source, point):
                _add(ways, way)
            path: YamlPath = ("spec", "properties", places.get(point.name, 0), "pushMethod")
            problems: list[str] = []
            for way in self._by_push(source, point, path, problems):
                _add(ways, way)
            if problems:
                found.problems[point.name] = "; ".join(problems)
            if ways:
                found.ways[point.name] = [_kept(way, known.get(point.name, ())) for way in ways]
        told = before.problems if before is not None else {}
        for name, problem in found.problems.items():
            if told.get(name) != problem:
                log.warning("device %s: %s", plan.key, problem)
        return found

    def _by_rules(self, source: Source, point: Point) -> Iterator[Way]:
        for sink, worker, place in self._rules:
            if any(_selects(select, source) for select in sink.select):
                pace = point.report_ms / 1000 if sink.pace == "report" else 0.0
                yield Way(worker, Route(source, place), pace)

    def _by_push(
        self, source: Source, point: Point, path: YamlPath, problems: list[str]
    ) -> Iterator[Way]:
        for where, kind, declared in declared_pushes(point.push) if point.push else ():
            try:
                sink = self._class_of(kind)
                target, place = sink.pushed(declared)
                worker = self._targets.pushed(sink, target, (*path, *where))
                route = Route(source, validated(sink.place_model, place, (*path, *where)))
            except (ConfigError, UnsupportedError) as error:
                problems.append(error.message)
            else:
                yield Way(worker, route, point.report_ms / 1000)


def _picker(
    indexes: Sequence[int], total: int
) -> Callable[[Sequence[Reading]], Sequence[Reading]] | None:
    if len(indexes) == total:
        return None
    if len(indexes) == 1:
        (only,) = indexes
        return lambda readings: (readings[only],)
    return itemgetter(*indexes)


def _selects(select: SelectConfig, source: Source) -> bool:
    device = source.device.name if "/" not in select.device else "/".join(source.device)
    return (
        fnmatchcase(device, select.device)
        and fnmatchcase(source.model, select.model)
        and fnmatchcase(source.property, select.property)
        and all(source.labels.get(label) == value for label, value in select.labels.items())
    )


def _add(ways: list[Way], way: Way) -> None:
    """Add a way; what leads to one place twice is one way, at the quicker pace."""
    for index, known in enumerate(ways):
        if _is_same(known, way):
            ways[index] = min(known, way, key=lambda one: one.pace)
            return
    ways.append(way)


def _is_same(way: Way, other: Way) -> bool:
    return way.worker is other.worker and way.route.place == other.route.place


def _kept(way: Way, known: Sequence[Way]) -> Way:
    """Give the way from before if it is the same: sinks keep what they derived of its route."""
    for other in known:
        if _is_same(way, other) and way.route.source == other.route.source:
            if way.pace == other.pace:
                return other
            return Way(other.worker, other.route, way.pace)
    return way
