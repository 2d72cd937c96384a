"""The JSON-lines sink: one reading a line, appended to a file."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from dmi.errors import ConversionError, DmiError
from mapper_sdk.delivery.sink import Item, Settings, Sink
from mapper_sdk.sinks.jsonl.file import LineFile
from mapper_sdk.sinks.payloads import reading_json

__all__ = ["JsonLinesPlace", "JsonLinesSink", "JsonLinesTarget"]


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or not path.name:
        raise ValueError("must be an absolute path of a file")
    return path


class JsonLinesTarget(Settings):
    """A file that readings are appended to."""

    path: Annotated[Path, AfterValidator(_absolute)] = Field(
        description="The file. It is made when missing, with its folder, for this user only."
    )
    max_size: int = Field(
        default=64 * 1024 * 1024,
        ge=4096,
        description="Longer than this it does not get: it is put aside, and a new one begun.",
        json_schema_extra={"unit": "bytes"},
    )
    max_age: float = Field(
        default=0.0,
        ge=0,
        description="The same when the first reading in it is older than this; 0 for never.",
        json_schema_extra={"unit": "s"},
    )
    max_files: int = Field(
        default=10, ge=0, description="Files put aside that are kept; the oldest go. 0 keeps all."
    )
    gzip: bool = Field(default=False, description="Compress files that are put aside.")
    sync: bool = Field(
        default=True,
        description="Have each batch on the disk before it counts as delivered. Without it, a "
        "power cut can take what came in the seconds before.",
    )


class JsonLinesPlace(Settings):
    """All readings go into the one file: there is nothing to choose."""


class JsonLinesSink(Sink[JsonLinesTarget, JsonLinesPlace]):
    """Appends to one file, in a thread of its own for each batch."""

    kind = "jsonl"
    target_model = JsonLinesTarget
    place_model = JsonLinesPlace

    def __init__(self, target: JsonLinesTarget) -> None:
        """Keep the settings; open nothing yet."""
        super().__init__(target)
        self._file = LineFile(
            target.path,
            most_bytes=target.max_size,
            most_seconds=target.max_age,
            files=target.max_files,
            gzip_=target.gzip,
            sync=target.sync,
        )

    async def open(self) -> None:
        """Open or make the file; cut off what a crash has left of a line."""
        await asyncio.to_thread(self._file.open)

    async def send(self, items: Sequence[Item[JsonLinesPlace]]) -> Mapping[int, DmiError]:
        """Append the batch as a whole; what failed is taken back."""
        failed: dict[int, DmiError] = {}
        lines: list[bytes] = []
        for index, (route, reading) in enumerate(items):
            try:
                lines.append(reading_json(route.source, reading))
            except ConversionError as error:
                failed[index] = error
        if lines:
            size = await asyncio.to_thread(self._file.append, b"\n".join([*lines, b""]))
            self._file.keep(size)
        return failed

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._file.close)
