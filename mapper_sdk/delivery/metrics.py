"""The figures of all targets, for Prometheus."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mapper_sdk.delivery.status import Condition, TargetStatus

__all__ = ["families"]

_LABELS = ("target", "kind")


def families(
    targets: Iterable[TargetStatus], errors: Mapping[str, Mapping[str, int]]
) -> Iterator[Metric]:
    """Give a family for each figure, with a sample for each target.

    Args:
        targets: How they do.
        errors: What went wrong, by target and reason.
    """
    targets = list(targets)
    counters = (
        ("delivered", "Readings that the target has taken."),
        ("retried", "Readings that were sent again."),
    )
    for field, text in counters:
        counter = CounterMetricFamily(f"dmi_mapper_target_{field}_readings", text, labels=_LABELS)
        for target in targets:
            counter.add_metric([target.name, target.kind], getattr(target, field))
        yield counter
    gauges = (
        ("queued", "dmi_mapper_target_queued_readings", "Readings in memory."),
        ("spooled", "dmi_mapper_target_spooled_readings", "Readings on disk."),
        ("spooled_bytes", "dmi_mapper_target_spooled_bytes", "Their size there."),
    )
    for field, name, text in gauges:
        gauge = GaugeMetricFamily(name, text, labels=_LABELS)
        for target in targets:
            gauge.add_metric([target.name, target.kind], getattr(target, field))
        yield gauge
    yield from _by_reason(targets, errors)
    yield from _states(targets)


def _by_reason(
    targets: Iterable[TargetStatus], errors: Mapping[str, Mapping[str, int]]
) -> Iterator[Metric]:
    lost = CounterMetricFamily(
        "dmi_mapper_target_lost_readings",
        "Readings that the target never got; the ledger says which.",
        labels=(*_LABELS, "reason"),
    )
    failed = CounterMetricFamily(
        "dmi_mapper_target_errors",
        "Sends that failed, and readings that were refused.",
        labels=(*_LABELS, "reason"),
    )
    for target in targets:
        for reason, count in sorted(target.lost.items()):
            lost.add_metric([target.name, target.kind, reason], count)
        for reason, count in sorted(errors.get(target.name, {}).items()):
            failed.add_metric([target.name, target.kind, reason], count)
    yield lost
    yield failed


def _states(targets: Iterable[TargetStatus]) -> Iterator[Metric]:
    conditions = GaugeMetricFamily(
        "dmi_mapper_target_condition",
        "1 for the condition that the target is in.",
        labels=(*_LABELS, "condition"),
    )
    hours = GaugeMetricFamily(
        "dmi_mapper_target_hours_left",
        "How long there is room on disk, at the rate of the last minutes.",
        labels=_LABELS,
    )
    for target in targets:
        for condition in Condition:
            conditions.add_metric(
                [target.name, target.kind, condition.value], target.condition is condition
            )
        if target.hours_left is not None:
            hours.add_metric([target.name, target.kind], target.hours_left)
    yield conditions
    yield hours
