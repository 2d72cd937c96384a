"""The link to nothing but files: devices and models from a file or a folder that is watched."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchfiles import awatch

from dmi.clock import Clock, SystemClock
from dmi.errors import NotFoundError
from dmi.manifests import Manifest, manifest_files, read_manifests
from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome
from dmi.resources import Device, DeviceModel, Key
from mapper_sdk.devices.plan import Point
from mapper_sdk.link.base import Link, Served
from mapper_sdk.link.wanted import Wanted

__all__ = ["FilesLink"]

log = logging.getLogger(__name__)

_SETTLE_MS: Final = 100
_LOOK_ANYWAY_MS: Final = 5000
_LOOK_AGAIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class _File:
    """What a file says, and by what to see that it has changed."""

    stamp: tuple[int, int, int]
    manifests: list[Manifest]


class FilesLink(Link):
    """Serves what the files say. There is nobody to report to, so reports end here.

    A file with mistakes keeps what it said before, and harms no other. Of two objects with
    one name the file that comes first in the alphabet has its way.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        """Prepare.

        Args:
            path: A YAML or JSON file, or a folder of such.
            clock: For the waits while `path` is not there.
        """
        super().__init__()
        self._path = path
        self._clock = clock or SystemClock()
        self._held: dict[Path, _File] = {}

    def report(self, batch: list[tuple[Point, Reading]]) -> None:
        """Nobody asked; each point keeps its latest reading itself."""

    def report_state(self, state: DeviceState) -> None:
        """Nobody asked."""

    def report_outcome(self, outcome: Outcome) -> None:
        """Nobody asked."""

    async def drain(self) -> None:
        """Return at once: nothing is ever under way."""

    async def run(self, served: Served) -> None:
        """Serve until cancelled; waits for files that are not there yet."""
        wanted = Wanted(served)
        self.connected = True
        missing = False
        while True:
            try:
                await self._load(wanted)
                missing = False
                await self._watch(wanted)
            except (NotFoundError, FileNotFoundError):
                if not missing:
                    log.warning("%s is not there; waiting for it", self._path)
                missing = True
                await self._clock.sleep(_LOOK_AGAIN)

    async def _watch(self, wanted: Wanted) -> None:
        # Editors replace a file by another one, so a single file is watched by its folder.
        folder = self._path if self._path.is_dir() else self._path.parent
        changes = awatch(
            folder,
            debounce=_SETTLE_MS,
            step=_SETTLE_MS // 2,
            rust_timeout=_LOOK_ANYWAY_MS,
            yield_on_timeout=True,
        )
        async for _ in changes:
            await self._load(wanted)

    async def _load(self, wanted: Wanted) -> None:
        """Read everything, and pass on what is different.

        Raises:
            NotFoundError: There is no such file or folder.
        """
        self._held = await asyncio.to_thread(_read_all, self._path, self._held)
        models: dict[Key, DeviceModel] = {}
        devices: dict[Key, Device] = {}
        for file, held in self._held.items():
            for manifest in held.manifests:
                self._sort_in(file, manifest.object, models, devices)
        for model in models.values():
            if wanted.models.get(model.key) != model:
                wanted.put_model(model)
        for device in devices.values():
            if wanted.devices.get(device.key) != device:
                wanted.put_device(device)
        wanted.keep_only(models.keys(), devices.keys())

    def _sort_in(
        self,
        file: Path,
        found: object,
        models: dict[Key, DeviceModel],
        devices: dict[Key, Device],
    ) -> None:
        if isinstance(found, DeviceModel):
            if models.setdefault(found.key, found) is not found:
                log.error("%s: model %s is already in another file", file, found.key)
        elif isinstance(found, Device) and devices.setdefault(found.key, found) is not found:
            log.error("%s: device %s is already in another file", file, found.key)


def _read_all(path: Path, before: Mapping[Path, _File]) -> dict[Path, _File]:
    """Read the files that have changed; the others are as they were."""
    return {file: _read(file, before.get(file)) for file in manifest_files(path)}


def _read(file: Path, before: _File | None) -> _File:
    """What a file says, or said when it was last right."""
    try:
        found = file.stat()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
    except OSError:
        stamp = (0, 0, 0)
    if before is not None and before.stamp == stamp:
        return before
    manifests, mistakes = read_manifests(file)
    if not mistakes:
        return _File(stamp, manifests)
    log.error("%s is not used as it is now:\n%s", file, "\n".join(map(str, mistakes)))
    return _File(stamp, manifests if before is None else before.manifests)
