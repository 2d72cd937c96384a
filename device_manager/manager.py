"""The device manager as a process: everything put together, readiness, signals, exit code."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import orjson

from device_manager.api.app import create_app
from device_manager.config import ManagerConfig, load_config, parse_options
from device_manager.dmi_service.server import serve
from device_manager.node import Node
from device_manager.storage.database import CorruptDatabaseError, quarantine
from device_manager.upstreams.files import FilesUpstream
from dmi.errors import ConfigError, ConflictError
from dmi.lifecycle import Job, collect_garbage_rarely, run_until, stopped_by_signals
from dmi.logs import set_up_logging
from dmi.rest.serving import serve_http

__all__ = ["Ready", "main", "run_manager"]

log = logging.getLogger(__name__)

Ready = Callable[[dict[str, str]], None]
"""Told once, when everything serves: the addresses, by `socket` and `api`."""

_WRONG_SETTINGS: Final = 2


def main(argv: Sequence[str]) -> int:
    """Run the manager until SIGTERM or SIGINT.

    Args:
        argv: Without the program's name.

    Returns:
        0 after an orderly end; 2 when a setting, the database or a socket is wrong, which
        standard error explains.
    """
    options = parse_options(argv)
    code = 0
    try:
        config = load_config(options, os.environ)
        set_up_logging(config.log_level, config.log_format)
        ready = _say_ready if options.ready_json else _log_ready
        asyncio.run(_run(config, ready, quarantine_corrupt=options.quarantine_corrupt))
    except* (ConfigError, ConflictError) as errors:
        for error in _leaves(errors):
            sys.stderr.write(f"error: {error}\n")
        code = _WRONG_SETTINGS
    return code


async def _run(config: ManagerConfig, ready: Ready, *, quarantine_corrupt: bool) -> None:
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        await run_manager(config, stop, ready, quarantine_corrupt=quarantine_corrupt)
    log.info("stopped")


async def run_manager(
    config: ManagerConfig, stop: asyncio.Event, ready: Ready, *, quarantine_corrupt: bool = False
) -> None:
    """Serve until `stop` is set.

    Raises:
        ConfigError: A setting or the database is wrong; alone or in an ExceptionGroup.
        ConflictError: Another process serves on the socket; alone or in an ExceptionGroup.
    """
    door = config.door()
    async with _node(config, quarantine_corrupt=quarantine_corrupt) as node:
        collect_garbage_rarely()
        async with (
            serve(node, config.socket, lease=config.lease, grace=config.grace) as dmi,
            serve_http(create_app(node, dmi, door=door), config.api, tls=door.tls) as address,
        ):
            jobs: dict[str, Job] = {}
            if config.devices is not None:
                jobs["files"] = FilesUpstream(node, config.devices).run
            ready({"socket": str(config.socket.absolute()), "api": address})

            async def drain() -> None:
                # Streams of changes never end by themselves.
                node.feed.close()

            await run_until(stop, jobs, drain, grace=config.grace)


@asynccontextmanager
async def _node(config: ManagerConfig, *, quarantine_corrupt: bool) -> AsyncIterator[Node]:
    try:
        node = await Node.open(config.database, synchronous=config.synchronous)
    except CorruptDatabaseError as error:
        if not quarantine_corrupt:
            raise
        aside = await asyncio.to_thread(quarantine, config.database)
        log.error("%s; it is now %s", error, aside)
        node = await Node.open(config.database, synchronous=config.synchronous)
    try:
        yield node
    finally:
        await node.close()


def _say_ready(addresses: dict[str, str]) -> None:
    sys.stdout.write(orjson.dumps(addresses).decode() + "\n")
    sys.stdout.flush()


def _log_ready(addresses: dict[str, str]) -> None:
    log.info("ready: DMI on %(socket)s, REST on %(api)s", addresses)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
