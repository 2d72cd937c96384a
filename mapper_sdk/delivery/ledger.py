"""The gap ledger of one target: which readings it never got, merged into intervals."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dmi.resources import Key
from mapper_sdk.delivery.sink import Item
from mapper_sdk.delivery.status import Gap

__all__ = ["Ledger", "Loss", "Tally", "losses_of"]

_LIMIT: Final = 10_000
_NEAR: Final = 10.0
_SPACINGS: Final = 3.0

_Word = tuple[Key, str, str]


@dataclass(slots=True)
class Loss:
    """Readings of one property that are lost by one reason, found out at once."""

    device: Key
    property: str
    first: float
    last: float
    count: int
    reason: str

    def add(self, time: float) -> None:
        """One more, of this source time."""
        self.first = min(self.first, time)
        self.last = max(self.last, time)
        self.count += 1


class Tally:
    """Losses that are not in a ledger yet: one entry for each property and reason."""

    def __init__(self) -> None:
        self._losses: dict[_Word, Loss] = {}

    def __bool__(self) -> bool:
        return bool(self._losses)

    @property
    def counts(self) -> Counter[str]:
        """Readings by reason."""
        counts: Counter[str] = Counter()
        for loss in self._losses.values():
            counts[loss.reason] += loss.count
        return counts

    def add(self, device: Key, property_: str, time: float, reason: str) -> None:
        """One reading more, of this source time."""
        loss = self._losses.get((device, property_, reason))
        if loss is None:
            self._losses[device, property_, reason] = Loss(device, property_, time, time, 1, reason)
        else:
            loss.add(time)

    def add_tally(self, other: "Tally") -> None:
        """All of another one, which is of no use afterwards."""
        for word, loss in other._losses.items():
            known = self._losses.setdefault(word, loss)
            if known is not loss:
                known.first = min(known.first, loss.first)
                known.last = max(known.last, loss.last)
                known.count += loss.count

    def add_items(self, items: Iterable[Item[Any]], reason: str) -> None:
        """Several readings more."""
        for route, reading in items:
            self.add(route.source.device, route.source.property, reading.time, reason)

    def take(self) -> list[Loss]:
        """Give all, and be empty."""
        losses, self._losses = self._losses, {}
        return list(losses.values())


def losses_of(items: Iterable[Item[Any]], reason: str) -> list[Loss]:
    """Count items by property."""
    tally = Tally()
    tally.add_items(items, reason)
    return tally.take()


class Ledger:
    """Keeps the gaps of one target, at most some thousand intervals.

    Losses of one property and reason become one interval when they follow each other as the
    property's readings do. When the ledger is full, a loss widens the property's last interval,
    however far away that is: what may suffer is where exactly it was, never how much.

    A loss is entered in two steps, so that a transaction on disk can lie between them. It may
    be read in one thread while another one enters.

    Attributes:
        target: Name of the target.
        lost: Readings that were entered since the process began, by reason.
    """

    def __init__(self, target: str, limit: int = _LIMIT) -> None:
        """Start empty.

        Args:
            target: Its name, as the gaps show it.
            limit: Most intervals that are kept apart.
        """
        self.target = target
        self.lost: Counter[str] = Counter()
        self._limit = limit
        self._gaps: dict[int, Gap] = {}
        self._newest: dict[_Word, int] = {}
        self._next = 1
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._gaps)

    def gaps(self) -> list[Gap]:
        """All intervals, in the order in which they began to be noted."""
        with self._lock:
            return list(self._gaps.values())

    def staged(self, losses: Iterable[Loss], now: float) -> dict[int, Gap]:
        """Give the intervals as these losses change them, by number; nothing is changed yet."""
        changed: dict[int, Gap] = {}
        newest: dict[_Word, int] = {}
        number = self._next
        for loss in losses:
            word = (loss.device, loss.property, loss.reason)
            known = newest.get(word) or self._newest.get(word, 0)
            gap = changed.get(known) or self._gaps.get(known)
            if gap is None or not (self._is_full or _follows(gap, loss)):
                known, number = number, number + 1
                changed[known] = _begun(self.target, loss, now)
            else:
                changed[known] = _widened(gap, loss, now)
            newest[word] = known
        return changed

    def load(self, kept: Mapping[int, Gap]) -> dict[int, Gap]:
        """Enter what a disk kept, before what was noted already.

        Returns:
            The latter, by the numbers that they have now.
        """
        with self._lock:
            noted = list(self._gaps.values())
            self._gaps, self._newest, self._next = {}, {}, 1
            self._enter(kept)
            renumbered = dict(enumerate(noted, self._next))
            self._enter(renumbered)
        return renumbered

    def accept(self, changed: Mapping[int, Gap], losses: Iterable[Loss]) -> None:
        """Enter what was staged last, and count it."""
        with self._lock:
            self._enter(changed)
        for loss in losses:
            self.lost[loss.reason] += loss.count

    def note(self, losses: Sequence[Loss], now: float) -> Mapping[int, Gap]:
        """Enter losses at once; gives the changed intervals by number."""
        changed = self.staged(losses, now)
        self.accept(changed, losses)
        return changed

    def _enter(self, changed: Mapping[int, Gap]) -> None:
        for number, gap in changed.items():
            self._gaps[number] = gap
            self._newest[gap.device, gap.property, gap.reason] = number
            self._next = max(self._next, number + 1)

    @property
    def _is_full(self) -> bool:
        return len(self._gaps) >= self._limit


def _begun(target: str, loss: Loss, now: float) -> Gap:
    return Gap(
        target,
        loss.device,
        loss.property,
        loss.first,
        loss.last,
        loss.count,
        loss.reason,
        now,
    )


def _widened(gap: Gap, loss: Loss, now: float) -> Gap:
    return replace(
        gap,
        first=min(gap.first, loss.first),
        last=max(gap.last, loss.last),
        count=gap.count + loss.count,
        noted=now,
    )


def _follows(gap: Gap, loss: Loss) -> bool:
    """Whether a loss goes on where the interval ends, or lies inside."""
    spacing = max(_spacing(gap), _spacing(loss), _NEAR / _SPACINGS)
    reach = _SPACINGS * spacing
    return loss.first - gap.last <= reach and gap.first - loss.last <= reach


def _spacing(span: Gap | Loss) -> float:
    """Mean seconds between its readings; 0 of a single one."""
    return (span.last - span.first) / (span.count - 1) if span.count > 1 else 0.0
