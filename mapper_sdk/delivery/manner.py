"""How a target is served, and with what."""

from dataclasses import dataclass
from random import Random

from dmi.clock import Clock
from mapper_sdk.sessions.polling import Poller

__all__ = ["Manner", "Tools"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How one target is served.

    Attributes:
        size: Most readings of one batch.
        linger: How long the first reading of a batch waits for others, in seconds.
        queue: Most readings in memory.
        timeout: How long one call of the sink may take, in seconds.
        drain: How many stored readings may follow in a second.
        always: Every reading goes to disk first.
        spools: Readings may go to disk at all; else only the ledger does.
    """

    size: int
    linger: float = 0.2
    queue: int = 50_000
    timeout: float = 30.0
    drain: float = 50_000.0
    always: bool = False
    spools: bool = True


@dataclass(frozen=True, slots=True)
class Tools:
    """What all workers have in common."""

    poller: Poller
    clock: Clock
    rng: Random
