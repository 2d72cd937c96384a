"""Server-sent events, from the bytes of a stream to changes."""

from collections.abc import Iterator

import orjson

from mapper_sdk.client.models import Change

__all__ = ["EventParser"]


class EventParser:
    """Takes a stream piece by piece, however it is cut.

    Lines end with LF or CRLF here, as the mapper ends them: other characters that end a
    line elsewhere may stand in a text of a device.

    Attributes:
        last_id: Of the last change that was whole: where to resume when the stream breaks
            off; empty at first.

    Source:
        WHATWG HTML Living Standard, section 9.2.6.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.begin()

    def begin(self) -> None:
        """Forget what a broken connection has left half said."""
        self._rest = b""
        self._id = self.last_id
        self._kind = ""
        self._data: list[bytes] = []

    def changes(self, piece: bytes) -> Iterator[Change]:
        """Give the changes that a further piece completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if (change := self._take(line.removesuffix(b"\r"))) is not None:
                yield change

    def _take(self, line: bytes) -> Change | None:
        if line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"id":
                self._id = value.decode()
            elif field == b"event":
                self._kind = value.decode()
            elif field == b"data":
                self._data.append(value)
            return None
        kind, data = self._kind, self._data
        self._kind, self._data = "", []
        self.last_id = self._id
        return Change(kind, orjson.loads(b"\n".join(data)), self.last_id) if data else None
