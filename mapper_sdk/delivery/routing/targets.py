"""All targets of a mapper: which there are, one worker for each, and what is left of others."""

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ValidationError

from dmi.errors import ConfigError
from dmi.mistakes import Fault, YamlPath
from dmi.wording import fault_of
from mapper_sdk.delivery.config import DeliveryConfig, SinkConfig, SpoolConfig
from mapper_sdk.delivery.disk.backlog import Backlog
from mapper_sdk.delivery.disk.keeper import Keeper
from mapper_sdk.delivery.disk.spool import Limits, Spool
from mapper_sdk.delivery.ledger import Ledger
from mapper_sdk.delivery.manner import Manner, Tools
from mapper_sdk.delivery.routing.orphans import Orphan
from mapper_sdk.delivery.routing.push import address_of, merged
from mapper_sdk.delivery.sink import Sink
from mapper_sdk.delivery.worker import Worker

__all__ = ["SinkClassOf", "Targets", "validated"]

log = logging.getLogger(__name__)

SinkClassOf = Callable[[str], type[Sink[Any, Any]]]
"""Gives the class of a kind of sink, or raises ConfigError."""

_SUFFIX: Final = ".spool"


class Targets:
    """Makes workers, and finds the one that a target has already.

    Equal settings are one target, whoever names them. A target of the mapper's own settings
    keeps its spool as long as it keeps its name; one that Devices name, as long as they say
    the same of it.

    Attributes:
        workers: All there are, in the order in which they were made.
        orphans: Spools in the folder that belong to no target now, by path.
    """

    def __init__(self, config: DeliveryConfig, tools: Tools, class_of: SinkClassOf) -> None:
        """Look into the folder.

        Raises:
            ConfigError: The folder is another mapper's.
        """
        self.workers: dict[str, Worker] = {}
        self.orphans: dict[Path, Orphan] = {}
        self._config = config
        self._tools = tools
        self._class_of = class_of
        self._by_settings: dict[bytes, Worker] = {}
        self._lock: int | None = None
        self._folder = config.folder
        if config.folder is not None:
            self._folder = self._opened(config.folder)

    def configured(self, sink: SinkConfig, path: YamlPath) -> tuple[Worker, BaseModel]:
        """Give the worker of a sink that settings name, and its place.

        Args:
            sink: The settings.
            path: Where they are in the file.

        Raises:
            ConfigError: They are wrong; the text has the path.
        """
        kind = self._class_of(sink.kind)
        target = validated(kind.target_model, sink.target, (*path, "target"))
        place = validated(kind.place_model, sink.place, (*path, "place"))
        try:
            kind.check(target, place)
        except ConfigError as error:
            raise ConfigError(str(Fault((*path, "place"), error.message))) from error
        spool = sink.spool or SpoolConfig()
        manner = Manner(
            size=sink.batch.size or kind.batch,
            linger=sink.batch.seconds,
            queue=sink.queue,
            timeout=sink.timeout,
            drain=spool.drain,
            always=spool.always,
            spools=sink.spool is not None,
        )
        limits = Limits(int(spool.bytes), spool.age)
        worker = self._worker(kind, target, sink.name, sink.name, manner, limits)
        if worker.name != sink.name:
            text = "the sinks %r and %r have one target: it is served as the first of them says"
            log.warning(text, worker.name, sink.name)
        return worker, place

    def pushed(
        self, kind: type[Sink[Any, Any]], declared: Mapping[str, Any], path: YamlPath
    ) -> Worker:
        """Give the worker of a target that a Device names.

        Args:
            kind: The sink's class.
            declared: Settings of the target as the Device says them.
            path: Where they are in the Device.

        Raises:
            ConfigError: They are wrong, or not allowed; the text has the path.
        """
        address = address_of(declared)
        if not any(_fits(rule.kind, rule.address, kind, address) for rule in self._config.allow):
            # Before an @ there may be half of a password that has a slash in it.
            whom = address.rpartition("@")[2] or "nowhere"
            problem = f"{kind.kind} to {whom} is not allowed by this mapper"
            raise ConfigError(str(Fault(path, problem)))
        added: dict[str, Any] = {}
        for rule in self._config.pushed:
            if _fits(rule.kind, rule.address, kind, address):
                added = merged(added, rule.set)
        target = validated(kind.target_model, merged(declared, added), path)
        file = f"pushed-{kind.kind}-{_digest(declared, target, added)}"
        name = f"{kind.kind} {address}"
        if name in self.workers:  # such as another database of the same server
            name = f"{name} {file[-6:]}"
        spool = SpoolConfig()
        limits = Limits(int(spool.bytes), spool.age)
        manner = Manner(kind.batch, drain=spool.drain)
        return self._worker(kind, target, name, file, manner, limits)

    def known(self) -> list[Worker | Orphan]:
        """All workers, and all spools that have none."""
        return [*self.workers.values(), *self.orphans.values()]

    def forget(self, worker: Worker) -> None:
        """A worker is about to end: whoever names its target gets another one."""
        if self.workers.get(worker.name) is worker:
            del self.workers[worker.name]
            self._by_settings = {
                key: other for key, other in self._by_settings.items() if other is not worker
            }

    def adopt_orphans(self) -> None:
        """Look after the spools of targets that are there no longer, until they are too old."""
        if self._folder is None:
            return
        mine = {w.backlog.spool.path for w in self.workers.values() if w.backlog is not None}
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path not in mine and path not in self.orphans:
                self.orphans[path] = Orphan(path, self._tools.clock)

    async def look_after_orphans(self) -> None:
        """Give up what is too old there; a file with nothing in it is removed."""
        for path, orphan in list(self.orphans.items()):
            if self.orphans.get(path) is not orphan:
                continue  # its target has come back while another one was looked at
            await orphan.look_after()
            if orphan.is_over and self.orphans.get(path) is orphan:
                self._end_orphan(path)
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of everything; what is in memory goes to disk."""
        for worker in self.workers.values():
            worker.stow()
        for path in list(self.orphans):
            self._end_orphan(path)
        self.workers, self._by_settings = {}, {}
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ------------------------------------------------------------- details ----

    def _worker(
        self,
        kind: type[Sink[Any, Any]],
        target: BaseModel,
        name: str,
        file: str,
        manner: Manner,
        limits: Limits,
    ) -> Worker:
        settings = target.model_dump(mode="json", by_alias=True)
        key = orjson.dumps((kind.kind, settings), option=orjson.OPT_SORT_KEYS)
        if (known := self._by_settings.get(key)) is not None:
            return known
        ledger = Ledger(name)
        address = address_of(settings)
        backlog = None
        if self._folder is not None:
            meta = {
                "name": name,
                "kind": kind.kind,
                "address": address,
                "size": str(limits.size),
                "age": str(limits.age),
            }
            backlog = self._backlog(file, ledger, limits, meta)
        worker = Worker(name, address, kind(target), manner, ledger, backlog, self._tools)
        self.workers[name] = self._by_settings[key] = worker
        return worker

    def _backlog(
        self, file: str, ledger: Ledger, limits: Limits, meta: Mapping[str, str]
    ) -> Backlog | None:
        assert self._folder is not None  # noqa: S101 - asked by who has one
        path = self._folder / f"{file}{_SUFFIX}"
        self._end_orphan(path)
        clock = self._tools.clock
        return Backlog(Keeper(Spool(path, ledger, limits, meta), clock), ledger.target, clock)

    def _end_orphan(self, path: Path) -> None:
        orphan = self.orphans.pop(path, None)
        if orphan is not None:
            orphan.backlog.close(())

    def _opened(self, folder: Path) -> Path | None:
        """Make the folder and lock it; without one, all is in memory."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"delivery.folder: {folder} is in use by another mapper: give each its own"
            ) from error
        except OSError as error:
            log.error(
                "delivery.folder: %s: %s; readings are kept in memory only", folder, error.strerror
            )
            return None
        return folder


def validated(model: type[BaseModel], settings: Mapping[str, Any], path: YamlPath) -> BaseModel:
    """Read settings of a sink.

    Raises:
        ConfigError: They are wrong; each fault has its path, which begins with `path`.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        faults = (fault_of(detail, model) for detail in error.errors())
        texts = (str(Fault((*path, *f.path), f.problem, f.hint)) for f in faults)
        raise ConfigError("; ".join(texts)) from error


def _digest(declared: Mapping[str, Any], target: BaseModel, added: Mapping[str, Any]) -> str:
    """A word for what Devices say of a target, however they spell it; what is added may change."""
    spelt = target.model_dump(mode="json", by_alias=True)
    said = {
        name: given if name in added else spelt.get(name, given) for name, given in declared.items()
    }
    text = orjson.dumps(said, option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(text).hexdigest()[:12]


def _fits(kind: str, address: str, sink: type[Sink[Any, Any]], given: str) -> bool:
    return fnmatchcase(sink.kind, kind) and fnmatchcase(given, address)
