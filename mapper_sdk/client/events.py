"""Server-sent events, from lines of text to changes."""

from collections.abc import Iterable, Iterator

import orjson

from mapper_sdk.client.models import Change

__all__ = ["EventParser"]


class EventParser:
    """Takes the lines of a stream one by one.

    Attributes:
        last_id: Where to resume when the stream breaks off; empty at first.

    Source:
        WHATWG HTML Living Standard, section 9.2.6.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._kind = ""
        self._data: list[str] = []

    def take(self, line: str) -> Change | None:
        """Take one line without its end; give the change that it completes, if any."""
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                self._kind = value
            elif field == "data":
                self._data.append(value)
            return None
        kind, data = self._kind, self._data
        self._kind, self._data = "", []
        return Change(kind, orjson.loads("\n".join(data)), self.last_id) if data else None

    def changes(self, lines: Iterable[str]) -> Iterator[Change]:
        """Give the changes in some lines."""
        for line in lines:
            if (change := self.take(line)) is not None:
                yield change
