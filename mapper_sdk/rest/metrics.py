"""What a mapper has counted, for Prometheus; gathered only when it is asked for."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dmi.reports import STATES
from mapper_sdk.mapper import Mapper

__all__ = ["Metrics"]


class Metrics:
    """A collector of one mapper's counters."""

    def __init__(self, mapper: Mapper) -> None:
        self._mapper = mapper
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give the present figures."""
        mapper = self._mapper
        yield CounterMetricFamily(
            "dmi_mapper_reported_readings",
            "Readings handed to the link and all other consumers.",
            value=mapper.hub.published,
        )
        yield CounterMetricFamily(
            "dmi_mapper_withheld_readings",
            "Readings held back because they had not changed enough.",
            value=mapper.hub.withheld,
        )
        yield CounterMetricFamily(
            "dmi_mapper_acknowledged_readings",
            "Readings that the manager has acknowledged.",
            value=mapper.link.acknowledged,
        )
        dropped = CounterMetricFamily(
            "dmi_mapper_dropped_readings", "Readings that were never delivered.", labels=["reason"]
        )
        for reason, count in mapper.link.dropped.items():
            dropped.add_metric([reason], count)
        yield dropped
        events = CounterMetricFamily(
            "dmi_mapper_driver_events", "What the driver has counted.", labels=["event"]
        )
        for name, count in sorted(mapper.driver_class.tally.items()):
            events.add_metric([name], count)
        yield events
        yield from self._ticks()
        yield from self._devices()

    def _ticks(self) -> Iterator[Metric]:
        statistics = self._mapper.poller.statistics
        ticks = CounterMetricFamily(
            "dmi_mapper_ticks", "Collect cycles that were due.", labels=["outcome"]
        )
        for outcome in ("on_time", "late", "skipped"):
            ticks.add_metric([outcome], getattr(statistics, outcome))
        yield ticks

    def _devices(self) -> Iterator[Metric]:
        counts = Counter(state.state for state in self._mapper.states.values())
        devices = GaugeMetricFamily("dmi_mapper_devices", "Devices by state.", labels=["state"])
        for state in STATES:
            devices.add_metric([state], counts[state])
        yield devices
        yield GaugeMetricFamily(
            "dmi_mapper_link_connected",
            "Whether the manager is reached now.",
            value=self._mapper.link.connected,
        )
