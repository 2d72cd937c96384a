"""What the device files of a directory say, read again only where they have changed."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dmi.errors import NotFoundError
from dmi.manifests import manifest_files, read_manifests
from dmi.resources import Device, DeviceModel, Key

__all__ = ["PREFIX", "Folder", "Item", "Object"]

Item = tuple[str, Key]
"""Kind and key of an object."""
Object = Device | DeviceModel

PREFIX: Final = "file:"
"""Start of the origin of everything that comes from a file; the path follows."""
_COARSE: Final = 2.0
"""A file changed this many seconds ago may change again without a trace in its times."""

_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class _File:
    stamp: _Stamp | None
    objects: Mapping[Item, Object] | None
    errors: list[str]


class Folder:
    """A directory with everything below it, or one file. Blocking: for a thread.

    Attributes:
        path: As configured.
        missing: There is nothing at `path`; that says nothing about the objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.missing = True
        self._files: dict[Path, _File] = {}

    @property
    def place(self) -> Path:
        """The directory to be watched."""
        return self.path if self.path.is_dir() else self.path.parent

    def identity(self) -> tuple[int, int]:
        """Tells one directory from another at the same path; zeros where there is none."""
        try:
            stat = self.place.stat()
        except OSError:
            return 0, 0
        return stat.st_dev, stat.st_ino

    def scan(self) -> bool:
        """Look at all files, read those that have changed.

        Returns:
            Whether anything is different from the last scan.
        """
        try:
            found = manifest_files(self.path)
        except (NotFoundError, OSError):
            changed, self.missing = not self.missing, True
            return changed
        changed = self.missing or bool(self._files.keys() - set(found))
        self.missing = False
        known, self._files = self._files, {}
        for path in found:
            self._files[path], new = self._look(path, known.get(path))
            changed = changed or new
        return changed

    def errors(self) -> dict[str, list[str]]:
        """What is wrong, by origin."""
        if self.missing:
            return {_origin(self.path): [f"{self.path}: no such file or directory"]}
        return {_origin(path): list(file.errors) for path, file in self._files.items()}

    def objects(self) -> Iterator[tuple[str, Mapping[Item, Object] | None]]:
        """What each file defines, by origin; None for a file with mistakes."""
        for path, file in self._files.items():
            yield _origin(path), file.objects

    def _look(self, path: Path, known: _File | None) -> tuple[_File, bool]:
        stamp = _stamp(path)
        if known is not None and stamp is not None and stamp == known.stamp:
            return known, False
        # Taken before reading: a change in between shows at the next scan.
        file = _read(path, stamp)
        same = known is not None and (known.objects, known.errors) == (file.objects, file.errors)
        return file, not same


def _stamp(path: Path) -> _Stamp | None:
    """What tells one content from another without reading; None when nothing can tell."""
    try:
        stat = path.stat()
    except OSError:
        return None
    if time.time() - stat.st_mtime < _COARSE:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: Path, stamp: _Stamp | None) -> _File:
    manifests, mistakes = read_manifests(path)
    errors = [_readable(str(mistake)) for mistake in mistakes]
    found = (manifest.object for manifest in manifests)
    objects: dict[Item, Object] = {
        (item.kind, item.key): item for item in found if isinstance(item, Object)
    }
    return _File(stamp, None if errors else objects, errors)


def _origin(path: Path) -> str:
    return f"{PREFIX}{_readable(str(path))}"


def _readable(text: str) -> str:
    """File names may be any bytes; what is not UTF-8 in one can be neither kept nor sent."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
