"""Devices and models from YAML files: a directory, or one file, that is watched."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Final

from watchfiles import awatch

from device_manager.node import Node
from device_manager.upstreams.base import Upstream
from device_manager.upstreams.folder import PREFIX, Folder, Item, Object
from dmi.clock import Clock, SystemClock
from dmi.errors import DmiError

__all__ = ["FilesUpstream"]

log = logging.getLogger(__name__)

_DEBOUNCE_MS: Final = 200
_STEP_MS: Final = 20


class FilesUpstream(Upstream):
    """Keeps the node equal to the files.

    A file with a mistake counts as it last was, so that nobody's typing stops a plant. Of
    two files that define one object, the one that had it first keeps it; the other is told.
    """

    def __init__(
        self, node: Node, path: Path, *, rescan: float = 2.0, clock: Clock | None = None
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            node: Gets the objects.
            path: A directory with everything below it, or one file.
            rescan: How often all is looked at even if nothing was noticed, in seconds.
            clock: For waiting where watching is not possible.
        """
        super().__init__(node)
        self._folder = Folder(path)
        self._rescan = rescan
        self._clock = clock or SystemClock()
        self._told: set[str] = set()
        self._in_step = False

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self.sync()
            try:
                await self._watch()
            except OSError as error:
                # No such directory yet, or too many watches on this machine.
                log.debug("cannot watch %s: %s", self._folder.path, error)
                await self._clock.sleep(self._rescan)

    async def _watch(self) -> None:
        """Compare after each change, and now and then without one, while the place stays."""
        place = self._folder.place
        identity = self._folder.identity()
        changes = awatch(
            place,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=int(self._rescan * 1000),
            yield_on_timeout=True,
            watch_filter=None,
        )
        async with aclosing(changes):
            async for _ in changes:
                await self.sync()
                if self._folder.identity() != identity:
                    # Another directory is here now; the watch is still on the old one.
                    return

    async def sync(self) -> None:
        """Read what has changed and bring the node into step."""
        changed = await asyncio.to_thread(self._folder.scan)
        if self._in_step and not changed:
            return
        errors = self._folder.errors()
        try:
            self._in_step = await self._compare(errors)
        except DmiError as error:
            # The disk takes nothing, or somebody else was quicker: next time.
            log.warning("devices of %s are not taken over yet: %s", self._folder.path, error)
            self._in_step = False
        self._tell(errors)

    async def _compare(self, errors: dict[str, list[str]]) -> bool:
        """Delete, then apply.

        Returns:
            Whether nothing needs another look; conflicts do, because they may be solved
            elsewhere.
        """
        if self._folder.missing:
            return True
        owners = self._owners(errors)
        for kind, key in sorted(self._ours() - owners.keys()):
            await self.node.delete(kind, key, self.node.origin(kind, key) or "")
        objects: dict[str, list[Object]] = {}
        for origin, found in owners.values():
            if found is not None:
                objects.setdefault(origin, []).append(found)
        ours = {origin for origin in self.node.origins() if origin.startswith(PREFIX)}
        for origin, items in objects.items():
            await self.node.apply(*items, origin=origin, replaceable=ours)
        return not any(errors.values())

    def _ours(self) -> set[Item]:
        origins = (origin for origin in self.node.origins() if origin.startswith(PREFIX))
        return {item for origin in origins for item in self.node.owned_by(origin)}

    def _owners(self, errors: dict[str, list[str]]) -> dict[Item, tuple[str, Object | None]]:
        """Whose definition of each object counts; the others are told.

        An object of a file that has mistakes comes without a definition: it stays as it is.
        """
        owners: dict[Item, tuple[str, Object | None]] = {}
        claims = sorted(self._claims(), key=self._has_it_already, reverse=True)
        for item, origin, found in claims:
            kind, key = item
            owner = owners[item][0] if item in owners else self.node.origin(kind, key)
            if item not in owners and (owner is None or owner.startswith(PREFIX)):
                owners[item] = origin, found
                continue
            place = (owner or "").removeprefix(PREFIX)
            text = f"{kind} {key} is ignored here: it belongs to {place} already"
            errors.setdefault(origin, []).append(text)
        return owners

    def _claims(self) -> Iterator[tuple[Item, str, Object | None]]:
        """Who defines what, by file name; a file with mistakes claims what it had."""
        for origin, objects in self._folder.objects():
            if objects is None:
                for item in self.node.owned_by(origin):
                    yield item, origin, None
            else:
                for item, found in objects.items():
                    yield item, origin, found

    def _has_it_already(self, claim: tuple[Item, str, Object | None]) -> bool:
        (kind, key), origin, _ = claim
        return self.node.origin(kind, key) == origin

    def _tell(self, errors: dict[str, list[str]]) -> None:
        for origin in self._told - errors.keys():
            self.node.report_upstream(origin, [])
        for origin, texts in errors.items():
            if texts and self.node.upstream_errors.get(origin) != texts:
                log.error("%s", "\n".join(texts))
            self.node.report_upstream(origin, texts)
        self._told = {origin for origin, texts in errors.items() if texts}
