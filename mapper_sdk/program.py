"""A mapper as an operating-system process: settings, logging, readiness, signals, exit code."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import orjson

from dmi.clock import SystemClock
from dmi.errors import ConfigError
from dmi.lifecycle import Job, collect_garbage_rarely, run_until, stopped_by_signals
from dmi.logs import set_up_logging
from mapper_sdk.config import MapperConfig, load_config, parse_options
from mapper_sdk.delivery.config import DeliveryConfig
from mapper_sdk.delivery.service import Delivery, history_sink
from mapper_sdk.derived.config import DerivedMqttConfig
from mapper_sdk.devices.planning import AnyDriver
from mapper_sdk.link.connect import make_link
from mapper_sdk.mapper import Mapper
from mapper_sdk.sessions.backoff import Backoff

if TYPE_CHECKING:
    from mapper_sdk.derived.mqtt import DerivedMqtt

__all__ = ["run_mapper"]

log = logging.getLogger(__name__)

_WRONG_SETTINGS = 2


def run_mapper(driver_class: type[AnyDriver], argv: Sequence[str]) -> int:
    """Run a mapper process with this driver until SIGTERM or SIGINT; give its exit code.

    Args:
        driver_class: Speaks the protocol.
        argv: Flags, without the program's name; `--help` lists them.

    Returns:
        0 after an orderly end; 2 when a setting is wrong, which standard error explains.
    """
    options = parse_options(argv, driver_class.protocol_name)
    try:
        config = load_config(options, os.environ)
        set_up_logging(config.log_level, config.log_format)
        collect_garbage_rarely()
        asyncio.run(_serve(driver_class, config, say_ready=options.ready_json))
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return _WRONG_SETTINGS
    return 0


async def _serve(driver_class: type[AnyDriver], config: MapperConfig, *, say_ready: bool) -> None:
    clock = SystemClock()
    mapper = Mapper(
        driver_class,
        make_link(config, driver_class, clock),
        protocol=config.protocol,
        clock=clock,
    )
    delivery = make_delivery(config, mapper)
    mapper.deliver_by(delivery)
    jobs: dict[str, Job] = {"mapper": mapper.run, "delivery": delivery.run}
    ready = {"name": config.name or f"{driver_class.protocol_name}-mapper", "pid": str(os.getpid())}
    if config.rest != "off":
        # Without REST a mapper does not pay for the web framework, some 15 MiB.
        from mapper_sdk.rest.service import RestService

        rest = RestService(mapper, config)
        jobs["rest"] = rest.run
        ready["rest"] = rest.url
    if config.derived is not None and config.derived.mqtt is not None:
        jobs["derived readings"] = _derived_by_mqtt(config.derived.mqtt, mapper).run
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        if say_ready:
            sys.stdout.write(orjson.dumps(ready).decode() + "\n")
            sys.stdout.flush()
        try:
            await run_until(stop, jobs, mapper.drain, grace=config.grace)
        except BaseExceptionGroup as group:
            wrong, bugs = group.split(ConfigError)
            if wrong is None or bugs is not None:
                raise
            raise ConfigError("; ".join(_texts(wrong))) from wrong
    log.info("stopped")


def make_delivery(config: MapperConfig, mapper: Mapper) -> Delivery:
    """Give what brings the mapper's readings to sinks, as settings say; nothing is reached yet.

    Raises:
        ConfigError: The settings are wrong.
    """
    history = None
    if config.history is not None:
        history = history_sink(config.history, config.history_days, config.history_size)
    settings = config.delivery or DeliveryConfig()
    return Delivery(settings, mapper.plan_of, mapper.poller, mapper.clock, history=history)


def _derived_by_mqtt(settings: DerivedMqttConfig, mapper: Mapper) -> "DerivedMqtt":
    try:
        from mapper_sdk.derived.mqtt import DerivedMqtt
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"derived readings by MQTT need {error.name}, which is not installed:"
            ' pip install "dmi-toolkit[mqtt]"'
        ) from error
    return DerivedMqtt(mapper, settings, Backoff(Random()))  # noqa: S311 - spreads retries


def _texts(group: BaseExceptionGroup[ConfigError]) -> list[str]:
    texts: list[str] = []
    for error in group.exceptions:
        texts += _texts(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return texts
