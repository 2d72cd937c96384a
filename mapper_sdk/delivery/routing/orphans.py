"""A spool that belongs to no target now: shown, and kept until it is too old."""

from pathlib import Path
from typing import Final

from dmi.clock import Clock
from mapper_sdk.delivery.disk.backlog import Backlog
from mapper_sdk.delivery.disk.keeper import Keeper
from mapper_sdk.delivery.disk.spool import Limits, Spool
from mapper_sdk.delivery.ledger import Ledger
from mapper_sdk.delivery.status import Condition, TargetStatus

__all__ = ["Orphan"]

_UNTIL_KNOWN: Final = Limits(2**62, float(2**31))


class Orphan:
    """What is left on disk of a target that neither settings nor Devices name now.

    Attributes:
        backlog: Its readings, and its ledger.
        ledger: What the target never got.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Touch nothing yet; the file says whose it is."""
        self.ledger = Ledger(path.stem)
        spool = Spool(path, self.ledger, _UNTIL_KNOWN, {})
        self.backlog = Backlog(Keeper(spool, clock), path.stem, clock)
        self._clock = clock
        self._looked = False

    @property
    def is_over(self) -> bool:
        """Whether it holds neither readings nor gaps that anybody could want to see."""
        return self._looked and not (self.backlog.count or len(self.ledger))

    async def look_after(self) -> None:
        """Give up what is too old."""
        await self.backlog.look()
        self._looked = self.backlog.full is None

    def status(self) -> TargetStatus:
        """How it is shown among the targets."""
        spool = self.backlog.spool
        trouble = self.backlog.full
        return TargetStatus(
            name=self.ledger.target,
            kind=spool.meta.get("kind", ""),
            address=spool.meta.get("address", ""),
            condition=Condition.STORING,
            since=spool.oldest or self._clock.time(),
            lost=dict(self.ledger.lost),
            spooled=spool.readings,
            spooled_bytes=spool.size,
            error=str(trouble) if trouble else "no longer configured",
            reason=trouble.reason if trouble else "not_found",
        )
