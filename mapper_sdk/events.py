"""What happened at a device, with the device's name."""

from dataclasses import dataclass

from dmi.resources import Key
from mapper_sdk.driver import Event

__all__ = ["DeviceEvent"]


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """An event, and the device that told it."""

    device: Key
    event: Event
