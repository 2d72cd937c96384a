"""The read planner: everything that is due, in the fewest requests. It knows no wire.

Spans and blocks are half-open ranges of addresses in one table of one unit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Block", "Limits", "Span", "plan_blocks", "split_spans"]


class Span(NamedTuple):
    """Addresses `start` to `end - 1`."""

    start: int
    end: int

    def holds(self, other: "Span") -> bool:
        """Whether `other` lies inside."""
        return self.start <= other.start and other.end <= self.end


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may do.

    Attributes:
        most: Addresses that it may ask for.
        gap: Addresses in a row, asked for by nobody, that it may run over.
    """

    most: int
    gap: int


class Block(NamedTuple):
    """One request: its range, and the spans that it answers."""

    span: Span
    parts: tuple[Span, ...]


def plan_blocks(
    spans: Iterable[Span], limits: Limits, forbidden: Sequence[Span] = ()
) -> list[Block]:
    """Cover all spans with as few requests as can be, each span whole in one of them.

    A block never runs over a gap wider than `limits.gap`, is never longer than `limits.most`
    and never holds a forbidden range, unless it is a single span that has one inside itself.

    The number is the least possible: allowed blocks stay allowed when they are cut at either
    end, so taking the leftmost span with all that fits behind it loses nothing.

    Raises:
        ValueError: A span is longer than `limits.most`, or empty.
    """
    wanted = sorted(set(spans))
    if any(not 0 < span.end - span.start <= limits.most for span in wanted):
        raise ValueError(f"a span does not fit into {limits.most} addresses")
    tainted = {s for s in wanted if any(s.holds(f) for f in forbidden)}
    alone = sorted(s for s in tainted if not any(o != s and o.holds(s) for o in tainted))
    blocks: list[Block] = []
    covered: set[Span] = set()
    for span in alone:
        parts = tuple(p for p in wanted if span.holds(p) and p not in covered)
        blocks.append(Block(span, parts))
        covered.update(parts)
    for region in _regions(wanted, limits.gap):
        blocks += _cover([s for s in region if s not in covered], limits.most, forbidden)
    return sorted(blocks)


def _regions(wanted: Sequence[Span], gap: int) -> list[list[Span]]:
    """Divide sorted spans where the hole between them is too wide to run over."""
    regions: list[list[Span]] = []
    end = 0
    for span in wanted:
        if not regions or span.start - end > gap:
            regions.append([])
            end = span.end
        regions[-1].append(span)
        end = max(end, span.end)
    return regions


def _cover(region: list[Span], most: int, forbidden: Sequence[Span]) -> list[Block]:
    blocks: list[Block] = []
    while region:
        start = region[0].start
        reach = min([start + most] + [f.end - 1 for f in forbidden if f.start >= start])
        taken = tuple(s for s in region if s.end <= reach)
        blocks.append(Block(Span(start, max(s.end for s in taken)), taken))
        region = [s for s in region if s.end > reach]
    return blocks


def split_spans(spans: Sequence[Span]) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Divide the spans of a refused block in two: at its widest hole, else in the middle.

    A hole is the likeliest reason for a refusal: nobody said that those addresses exist.
    """
    ordered = sorted(spans)
    middle = len(ordered) // 2
    holes = [
        (right.start - max(s.end for s in ordered[: at + 1]), -abs(at + 1 - middle), at + 1)
        for at, (_, right) in enumerate(pairwise(ordered))
    ]
    width, _, at = max(holes)
    cut = at if width > 0 else middle
    return tuple(ordered[:cut]), tuple(ordered[cut:])
