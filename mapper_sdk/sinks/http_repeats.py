"""What the HTTP sink remembers of requests, so that a repetition is the same request again."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dmi.readings import Reading
from dmi.resources import Key
from mapper_sdk.delivery.sink import Source
from mapper_sdk.sinks.http.settings import Body

__all__ = ["Group", "Kind", "Repeats"]

_MOST_REQUESTS: Final = 8
_MOST_TAKEN: Final = 50_000

Kind = tuple[str, str, Body]
"""URL, method and form of a request."""

_Name = tuple[Kind, Key, str, float]
"""A reading as an app could tell it from others: where it goes, of whom, from when."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Readings that one request can carry, and the index of each."""

    kind: Kind
    items: Sequence[tuple[int, Source, Reading]]

    @property
    def halves(self) -> tuple["Group", "Group"]:
        """Two groups that follow each other."""
        middle = len(self.items) // 2
        return Group(self.kind, self.items[:middle]), Group(self.kind, self.items[middle:])

    def names(self) -> Iterator[_Name]:
        """Each reading by its name, in order."""
        kind = self.kind
        return ((kind, source.device, source.property, of.time) for _, source, of in self.items)


class Repeats:
    """Requests that got no answer, and readings that were taken though they come again.

    A reading that comes again may come among others than before: what was kept meanwhile is
    cut into batches anew. An app knows a repetition by the request's key, which is made of all
    that is in it; so the request of then is posted again, and its readings are left out of
    those of now. Of both, only so much is remembered: the oldest is forgotten first.
    """

    def __init__(self) -> None:
        """Remember nothing."""
        self._unanswered: deque[Group] = deque(maxlen=_MOST_REQUESTS)
        self._taken: dict[_Name, None] = {}

    def begin(self, group: Group) -> None:
        """A request is about to be posted."""
        if group not in self._unanswered:
            self._unanswered.append(group)

    def end(self, group: Group) -> None:
        """It was answered, one way or the other."""
        if group in self._unanswered:
            self._unanswered.remove(group)

    def note_taken(self, groups: Iterable[Group]) -> None:
        """The readings of these requests were taken, and come again."""
        for group in groups:
            self._taken.update(dict.fromkeys(group.names()))
        while len(self._taken) > _MOST_TAKEN:
            del self._taken[next(iter(self._taken))]

    def unanswered(self, groups: Sequence[Group]) -> list[Group]:
        """Earlier requests with readings in them that are in these, too."""
        if not self._unanswered:
            return []
        names = {name for group in groups for name in group.names()}
        return [earlier for earlier in self._unanswered if not names.isdisjoint(earlier.names())]

    def divide(self, groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
        """Part what is still to be posted from what was taken, and is now forgotten."""
        if not self._taken:
            return list(groups), []
        fresh: list[Group] = []
        known: list[Group] = []
        for group in groups:
            is_known = [name in self._taken for name in group.names()]
            for found, wanted in ((fresh, False), (known, True)):
                pairs = zip(group.items, is_known, strict=True)
                part = [item for item, known_one in pairs if known_one is wanted]
                found += [Group(group.kind, part)] if part else []
        for group in known:
            for name in group.names():
                self._taken.pop(name, None)
        return fresh, known
