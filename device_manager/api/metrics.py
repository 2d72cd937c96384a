"""Metrics, read off the node's own state when somebody asks; nothing is counted twice."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from device_manager.api.context import Api

__all__ = ["make_registry"]

Samples: TypeAlias = Iterable[tuple[tuple[str, ...], float]]


def make_registry(api: Api) -> CollectorRegistry:
    """A registry of this application alone: its node, its services, its process."""
    registry = CollectorRegistry()
    registry.register(_NodeCollector(api))
    ProcessCollector(registry=registry)
    return registry


class _NodeCollector(Collector):
    def __init__(self, api: Api) -> None:
        self._api = api

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is shows when it is collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything there is now."""
        yield from self._wanted()
        yield from self._known()
        yield from self._mappers()
        yield from self._served()
        yield from self._commands()

    def _wanted(self) -> Iterator[Metric]:
        node = self._api.node
        yield _gauge("dmi_models", "Device models.", (), [((), len(node.models))])
        text = "Devices that cannot be served as written."
        yield _gauge("dmi_device_problems", text, (), [((), len(node.problems))])
        text = "Mistakes at a source of devices."
        errors = [((name,), len(told)) for name, told in node.upstream_errors.items()]
        yield _gauge("dmi_upstream_errors", text, ("upstream",), errors)
        text = "Whether the database takes writes."
        yield _gauge("dmi_store_ready", text, (), [((), float(not node.storage_error))])

    def _known(self) -> Iterator[Metric]:
        node = self._api.node
        states = Counter(node.state(key).state for key in node.devices)
        samples = [((state,), count) for state, count in sorted(states.items())]
        yield _gauge("dmi_devices", "Devices by state.", ("state",), samples)
        twins = [twin for key in node.devices for twin in node.twins(key).values()]
        yield _gauge("dmi_twins", "Twins.", (), [((), len(twins))])
        qualities = Counter(
            twin.reported.quality.name.lower() if twin.reported else "none" for twin in twins
        )
        samples = [((quality,), count) for quality, count in sorted(qualities.items())]
        text = "Twins by the quality of their reported value."
        yield _gauge("dmi_twins_reported", text, ("quality",), samples)
        wishes = Counter(twin.desired.status.name.lower() for twin in twins if twin.desired)
        samples = [((status,), count) for status, count in sorted(wishes.items())]
        yield _gauge("dmi_twins_desired", "Desired values by status.", ("status",), samples)

    def _mappers(self) -> Iterator[Metric]:
        node = self._api.node
        samples = [
            ((one.name, one.instance, one.protocol, one.api), float(one.alive))
            for one in node.mappers.values()
        ]
        labels = ("mapper", "instance", "protocol", "api")
        yield _gauge("dmi_mapper_alive", "Whether a mapper lives.", labels, samples)
        said = [
            ((session.record.name, session.record.instance, name), value)
            for session in self._api.dmi.leases.sessions
            for name, value in session.gauges.items()
        ]
        text = "What living mappers say of their health."
        yield _gauge("dmi_mapper_gauge", text, ("mapper", "instance", "gauge"), said)

    def _served(self) -> Iterator[Metric]:
        counters = self._api.dmi.counters
        for name, text, label, totals in (
            ("dmi_registrations", "Registrations of mappers.", "api", counters.registered),
            ("dmi_reports", "Reports that were committed.", "api", counters.batches),
            ("dmi_readings", "Readings that were committed.", "api", counters.readings),
            ("dmi_refused", "What was reported and not taken.", "reason", counters.refused),
        ):
            yield _counter(name, text, (label,), (((key,), n) for key, n in totals.items()))
        text = "Readings that mappers had to drop."
        yield _counter("dmi_mapper_dropped", text, ("mapper", "reason"), counters.dropped.items())
        text = "Calls to v1beta1 mappers."
        yield _counter("dmi_mapper_calls", text, ("method", "outcome"), counters.calls.items())

    def _commands(self) -> Iterator[Metric]:
        book = self._api.node.commands
        phases = Counter(record.phase.name.lower() for record in book.open.values())
        samples = [((phase,), count) for phase, count in sorted(phases.items())]
        text = "Calls of methods that have not ended."
        yield _gauge("dmi_commands_open", text, ("phase",), samples)
        ended = [((phase.name.lower(),), number) for phase, number in sorted(book.ended.items())]
        text = "Calls of methods that have ended."
        yield _counter("dmi_commands_ended", text, ("phase",), ended)


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family
