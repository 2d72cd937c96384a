"""What can be known of the delivery to each target: its state, its counters, what was lost."""

from dataclasses import dataclass, field
from enum import StrEnum

from dmi.resources import Key

__all__ = ["Condition", "Gap", "TargetStatus"]


class Condition(StrEnum):
    """How a target does."""

    IDLE = "idle"  # nothing was sent yet
    LIVE = "live"  # it takes what comes
    STORING = "storing"  # it does not; readings are kept, on disk where there is a spool
    DRAINING = "draining"  # it takes what comes, and what was kept follows at a set pace


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target now. Counters begin with the process; figures of the spool outlive it.

    Attributes:
        name: As settings name it, or derived from kind and address.
        kind: Kind of sink.
        address: Whom it reaches, without secrets.
        since: When `condition` began, in seconds since 1970.
        delivered: Readings that the target has taken.
        retried: Readings that were sent again.
        lost: Readings that never arrived, by reason; each is in the ledger.
        queued: Readings in memory.
        spooled: Readings on disk.
        spooled_bytes: Their size there.
        hours_left: How long the spool will do at the rate of the last minutes; None where
            nothing is being stored, or there is no spool.
        error: What went wrong last, for people; empty when nothing since the last success.
        reason: Its word for programs.
    """

    name: str
    kind: str
    address: str
    condition: Condition
    since: float
    delivered: int = 0
    retried: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    spooled: int = 0
    spooled_bytes: int = 0
    hours_left: float | None = None
    error: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Readings of one property that one target never got.

    Attributes:
        first: Source time of the first one missing, in seconds since 1970.
        last: Source time of the last one missing.
        count: How many are missing.
        reason: Why: `spool_full`, `too_old`, `queue_full`, `refused`, `stopped` and so on.
        noted: When that was found out.
    """

    target: str
    device: Key
    property: str
    first: float
    last: float
    count: int
    reason: str
    noted: float
