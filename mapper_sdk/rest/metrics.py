"""What a mapper has counted, for Prometheus; gathered only when it is asked for."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from dmi.readings import Quality
from dmi.reports import STATES
from mapper_sdk.audit import Audit
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.counting import Requests
from mapper_sdk.rest.streams.channels import Channels

if TYPE_CHECKING:
    # Lazily, like all that an idle mapper can do without.
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = ["Metrics"]


class Metrics:
    """A collector of one mapper's counters."""

    def __init__(
        self, mapper: Mapper, requests: Requests, channels: Channels, audit: Audit
    ) -> None:
        self._mapper = mapper
        self._requests = requests
        self._channels = channels
        self._audit = audit

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    @cached_property
    def _registry(self) -> "CollectorRegistry":
        from prometheus_client import CollectorRegistry, ProcessCollector

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return registry

    def collect(self) -> "Iterator[Metric]":
        """Give the present figures."""
        yield from self._readings()
        yield from self._reads()
        yield from self._devices()
        yield from self._rest()
        if self._mapper.delivery is not None:
            yield from self._mapper.delivery.metrics()

    def _readings(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily

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

    def _reads(self) -> "Iterator[Metric]":
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        mapper = self._mapper
        statistics = mapper.poller.statistics
        ticks = CounterMetricFamily(
            "dmi_mapper_ticks", "Collect cycles that were due.", labels=["outcome"]
        )
        for outcome in ("on_time", "late", "skipped"):
            ticks.add_metric([outcome], getattr(statistics, outcome))
        yield ticks
        reads = mapper.exchanges.reads
        yield HistogramMetricFamily(
            "dmi_mapper_read_seconds",
            "What devices take to answer a read, once it is their turn.",
            buckets=reads.buckets(),
            sum_value=reads.total,
        )
        failures = CounterMetricFamily(
            "dmi_mapper_failed_exchanges",
            "Reads, writes, calls and connections that failed as a whole.",
            labels=["reason"],
        )
        for reason, count in sorted(mapper.exchanges.failures.items()):
            failures.add_metric([reason], count)
        yield failures
        yield GaugeMetricFamily(
            "dmi_mapper_waiting_turns",
            "Turns that are queued on buses that devices share.",
            value=mapper.waiting_turns,
        )
        events = CounterMetricFamily(
            "dmi_mapper_driver_events", "What the driver has counted.", labels=["event"]
        )
        for name, count in sorted(mapper.driver_class.tally.items()):
            events.add_metric([name], count)
        yield events

    def _devices(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        counts = Counter(state.state for state in self._mapper.states.values())
        devices = GaugeMetricFamily("dmi_mapper_devices", "Devices by state.", labels=["state"])
        for state in STATES:
            devices.add_metric([state], counts[state])
        yield devices
        reasons = Counter(
            point.latest.reason
            for session in self._mapper.sessions.values()
            for point in session.plan.points.values()
            if point.latest is not None and point.latest.quality is Quality.BAD
        )
        bad = GaugeMetricFamily(
            "dmi_mapper_bad_properties", "Properties without a good value now.", labels=["reason"]
        )
        for reason, count in sorted(reasons.items()):
            bad.add_metric([reason], count)
        yield bad
        yield GaugeMetricFamily(
            "dmi_mapper_link_connected",
            "Whether the manager is reached now.",
            value=self._mapper.link.connected,
        )

    def _rest(self) -> "Iterator[Metric]":
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        answers = CounterMetricFamily(
            "dmi_mapper_rest_requests",
            "Answered requests.",
            labels=["method", "route", "status"],
        )
        for (method, route, status), count in self._requests.answers.items():
            answers.add_metric([method, route, str(status)], count)
        yield answers
        durations = HistogramMetricFamily(
            "dmi_mapper_rest_seconds",
            "What requests took, until the first byte of the answer.",
            labels=["method", "route"],
        )
        for (method, route), took in self._requests.durations.items():
            durations.add_metric([method, route], buckets=took.buckets(), sum_value=took.total)
        yield durations
        yield GaugeMetricFamily(
            "dmi_mapper_rest_streams", "Readers of changes now.", value=self._channels.readers
        )
        yield CounterMetricFamily(
            "dmi_mapper_unkept_audit_entries",
            "Entries that the audit trail did not take; they are in the log.",
            value=self._audit.failed,
        )
