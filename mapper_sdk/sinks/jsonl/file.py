"""A file of lines that only grows by whole batches, and gives way to a new one in time."""

import errno
import fcntl
import gzip
import os
import re
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dmi.errors import ConfigError, DmiError, UnavailableError

__all__ = ["LineFile"]

_BLOCK: Final = 64 * 1024
_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_PART: Final = ".part"
_PACKED: Final = ".gz"
_A_HUMAN: Final = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.EROFS,
    }
)


class LineFile:
    """Blocking; calls from several threads wait for each other.

    What `append` has written counts only once `keep` was called: else the next `open` or
    `append` takes it away again, so that a repetition does not double it.
    """

    def __init__(
        self,
        path: Path,
        *,
        most_bytes: int,
        most_seconds: float,
        files: int,
        gzip_: bool,
        sync: bool,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            path: The file; its folder is made where there is none.
            most_bytes: A batch that would make it longer begins a new file.
            most_seconds: So does one that comes when the file is this old; 0 for never.
            files: Finished files that are kept; 0 for all.
            gzip_: Compress finished files.
            sync: Have each batch on the disk, not only with the operating system.
        """
        self._path = path
        self._most_bytes, self._most_seconds, self._files = most_bytes, most_seconds, files
        self._gzip, self._sync = gzip_, sync
        self._lock = threading.Lock()
        self._descriptor = -1
        self._inode = 0
        self._kept = 0  # bytes that count
        self._begun = 0.0
        self._number = 0

    def open(self) -> None:
        """Open the file and repair its end; make it when it is not there, for us alone.

        Raises:
            UnavailableError: The disk does not want to, or another process is writing there.
            ConfigError: The path cannot be written.
        """
        with self._lock:
            self._close()
            try:
                self._open()
            except OSError as error:
                self._close()
                raise _worded(error) from error

    def append(self, data: bytes) -> int:
        """Write a batch of whole lines.

        Returns:
            What `keep` needs.

        Raises:
            UnavailableError: The disk is full, or the file is gone; nothing was written.
        """
        with self._lock:
            if self._descriptor < 0:
                raise UnavailableError("the file is not open")
            try:
                self._still_there()
                self._rotate_before(len(data))
                os.ftruncate(self._descriptor, self._kept)
                self._write(data)
            except OSError as error:
                self._take_back()
                raise _worded(error) from error
            return self._kept + len(data)

    def keep(self, size: int) -> None:
        """The batch counts: whoever gave it has been told."""
        self._kept = size

    def close(self) -> None:
        """Close the file, without what does not count."""
        with self._lock:
            if self._descriptor >= 0:
                self._take_back()
            self._close()

    # -------------------------------------------------------------- details ----

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
        self._descriptor = os.open(self._path, flags, _MODE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another process is writing there") from None
        found = os.fstat(self._descriptor)
        same = found.st_ino == self._inode and found.st_size >= self._kept
        if not same:
            self._kept = self._whole_lines(found.st_size)
        self._inode = found.st_ino
        os.ftruncate(self._descriptor, self._kept)
        self._begun = self._age_of_first_line() if self._kept else time.time()
        self._sync_folder()
        for unfinished in self._path.parent.glob(f"{self._path.stem}-*{_PART}"):
            unfinished.unlink(missing_ok=True)

    def _whole_lines(self, size: int) -> int:
        """Where the last whole line ends: a crash may have left a part of one behind it."""
        end = size
        while end:
            start = max(0, end - _BLOCK)
            place = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
        return 0

    def _age_of_first_line(self) -> float:
        """When the file began: as good as nobody tells, the time of its first reading."""
        line = os.pread(self._descriptor, _BLOCK, 0).partition(b"\n")[0]
        _, _, rest = line.partition(b'"time":"')
        try:
            return datetime.fromisoformat(rest.partition(b'"')[0].decode()).timestamp()
        except ValueError:
            return os.fstat(self._descriptor).st_mtime

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if self._sync:
            os.fdatasync(self._descriptor)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._kept)
        except OSError:
            self._close()  # `open` tries again

    def _still_there(self) -> None:
        try:
            inode = self._path.lstat().st_ino
        except FileNotFoundError:
            inode = 0
        if inode != self._inode:
            self._close()
            raise OSError(errno.ESTALE, "somebody has moved the file away")

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # ------------------------------------------------------------- rotation ----

    def _rotate_before(self, more: int) -> None:
        old = self._most_seconds and time.time() - self._begun >= self._most_seconds
        if not self._kept or not (old or self._kept + more > self._most_bytes):
            return
        os.ftruncate(self._descriptor, self._kept)
        finished = self._finished()
        # Numbers, not times: a clock may be set back.
        self._number = max([self._number, *finished]) + 1
        name = f"{self._path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{self._number:06}"
        aside = self._path.with_name(f"{name}{self._path.suffix}")
        self._path.rename(aside)
        finished[self._number] = aside
        self._close()
        self._inode = self._kept = 0
        self._open()
        self._tidy(finished)

    def _tidy(self, finished: dict[int, Path]) -> None:
        """Remove the oldest of the files that were put aside, compress the others."""
        oldest_first = [file for _, file in sorted(finished.items())]
        surplus = max(0, len(finished) - self._files) if self._files else 0
        for file in oldest_first[:surplus]:
            file.unlink(missing_ok=True)
        for file in oldest_first[surplus:] if self._gzip else ():
            if file.suffix != _PACKED:
                _compress(file)

    def _finished(self) -> dict[int, Path]:
        """The files that were put aside, by number."""
        name = (
            f"{re.escape(self._path.stem)}-\\d{{8}}T\\d{{6}}-(\\d+){re.escape(self._path.suffix)}"
        )
        pattern = re.compile(f"{name}({re.escape(_PACKED)})?")
        matches = ((file, pattern.fullmatch(file.name)) for file in self._path.parent.iterdir())
        return {int(found[1]): file for file, found in matches if found}

    def _sync_folder(self) -> None:
        if self._sync:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _compress(file: Path) -> None:
    """Replace a file by its compressed form, at once."""
    part = file.with_name(f"{file.name}{_PART}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with file.open("rb") as plain, os.fdopen(descriptor, "wb") as packed:
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6) as stream:
            shutil.copyfileobj(plain, stream, _BLOCK)
        packed.flush()
        os.fsync(packed.fileno())
    part.rename(file.with_name(f"{file.name}{_PACKED}"))
    file.unlink()


def _worded(error: OSError) -> DmiError:
    text = error.strerror or str(error)
    name = f"{error.filename}: " if error.filename else ""
    kind = ConfigError if error.errno in _A_HUMAN else UnavailableError
    return kind(f"{name}{text}")
