"""Choosing a mapper's link by its settings."""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from dmi.clock import Clock
from dmi.errors import ConfigError
from dmi.reports import Registration
from mapper_sdk.config import MapperConfig
from mapper_sdk.devices.planning import AnyDriver
from mapper_sdk.driver import Alarming, Calling, Discovering, Subscribing, Upgrading
from mapper_sdk.link.auto import AutoLink
from mapper_sdk.link.base import Link
from mapper_sdk.link.v1 import V1Link

__all__ = ["make_link", "registration_of"]

_ABILITIES: Final = (
    (Subscribing, "subscribe"),
    (Calling, "call"),
    (Discovering, "discover"),
    (Upgrading, "upgrade"),
    (Alarming, "events"),
)
"""What is told to a manager. `Remembering` is not: v1 has no word for it, as only a mapper's own
REST API serves what a device keeps of the past."""


def make_link(
    config: MapperConfig, driver_class: type[AnyDriver], clock: Clock | None = None
) -> Link:
    """Give the link that the settings ask for; nothing is opened yet.

    Raises:
        ConfigError: The link `files` was asked for without naming files.
    """
    if config.link == "files" or (config.link == "auto" and config.devices is not None):
        return _files(config, clock)
    registration = registration_of(driver_class, config)

    def v1() -> Link:
        return V1Link(config.manager_socket, registration)

    def v1beta1() -> Link:
        return _v1beta1(config, registration, clock)

    if config.link == "v1":
        return v1()
    if config.link == "v1beta1":
        return v1beta1()
    return AutoLink(config.manager_socket, v1=v1, v1beta1=v1beta1)


# Each link is imported by who uses it: with a manager of ours a mapper does not pay for reading
# files, nor for the stubs and rules of EdgeCore, some 5 MiB together.


def _files(config: MapperConfig, clock: Clock | None) -> Link:
    if config.devices is None:
        raise ConfigError("link files needs devices: a file or a folder of them")
    from mapper_sdk.link.files import FilesLink

    return FilesLink(config.devices, clock=clock)


def _v1beta1(config: MapperConfig, registration: Registration, clock: Clock | None) -> Link:
    from dmi.governor import Charset
    from mapper_sdk.link.v1beta1 import V1Beta1Link

    charset = Charset(config.charset)
    return V1Beta1Link(config.manager_socket, registration, charset=charset, clock=clock)


def registration_of(driver_class: type[AnyDriver], config: MapperConfig) -> Registration:
    """Who a mapper is, from its driver and its settings."""
    protocol = config.protocol or driver_class.protocol_name
    name = config.name or f"{protocol}-mapper"
    socket = config.socket or config.manager_socket.with_name(f"{name}.sock")
    extra = [word for ability, word in _ABILITIES if issubclass(driver_class, ability)]
    return Registration(
        name=name,
        protocol=protocol,
        instance=config.instance,
        version=_version(driver_class),
        abilities=("read", "write", *extra),
        link_schema=json.dumps(driver_class.link_model.model_json_schema()),
        visit_schema=json.dumps(driver_class.visit_model.model_json_schema()),
        address=str(socket.absolute()),
    )


def _version(driver_class: type[AnyDriver]) -> str:
    """Version of the package that the driver comes in, as far as it is installed."""
    package = driver_class.__module__.partition(".")[0]
    own = {"mapper_sdk", "mappers"}
    try:
        return version("dmi-toolkit" if package in own else package)
    except PackageNotFoundError:
        return ""
