"""The device table: models, devices and wishes, in whatever order they come."""

import itertools
import logging
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Protocol

from dmi.errors import ConfigError
from dmi.reports import Desired, Outcome, OutcomeStatus
from dmi.resources import Device, DeviceModel, Key
from mapper_sdk.devices.plan import Plan
from mapper_sdk.devices.planning import AnyDriver, build_plan
from mapper_sdk.sessions.twin import replaces

__all__ = ["DeviceTable", "Fleet"]

log = logging.getLogger(__name__)


class Fleet(Protocol):
    """What serves the devices. Every call returns at once."""

    def serve(self, plan: Plan) -> None:
        """Serve a device like this from now on; it may be served already."""

    def drop(self, key: Key) -> None:
        """Serve a device no longer; unknown ones are ignored."""

    def refuse(self, key: Key, state: str, reason: str, message: str) -> None:
        """Serve a device no longer, and say why."""

    def wish(self, desired: Desired) -> None:
        """Somebody wants a property of a served device to have a value."""


class DeviceTable:
    """Resolves devices against their models and tells the fleet what follows.

    Any order of the calls ends in the same state: a device waits for its model, and
    wishes wait for their device. Devices of other protocols are not ours.
    """

    def __init__(self, driver_class: type[AnyDriver], fleet: Fleet, protocol: str = "") -> None:
        """Start empty.

        Args:
            driver_class: Whose settings the devices have.
            fleet: Who serves them.
            protocol: Protocol name that the devices must have; by default the driver's.
        """
        self._driver_class = driver_class
        self._fleet = fleet
        self._protocol = protocol or driver_class.protocol_name
        self._handles = itertools.count(1)
        self._models: dict[Key, DeviceModel] = {}
        self._devices: dict[Key, Device] = {}
        self._desired: dict[Key, dict[str, Desired]] = {}
        self._served: set[Key] = set()

    @property
    def devices(self) -> AbstractSet[Key]:
        """Every device of our protocol that was put, served or not."""
        return self._devices.keys()

    def model_of(self, device: Key) -> DeviceModel | None:
        """The model of a device, if both were put."""
        known = self._devices.get(device)
        return self._models.get(known.model_key) if known is not None else None

    def put_model(self, model: DeviceModel) -> None:
        """A model is new or changed: its devices are resolved anew."""
        if self._models.get(model.key) == model:
            return
        self._models[model.key] = model
        self._resolve_devices_of(model.key)

    def remove_model(self, key: Key) -> None:
        """A model is gone: its devices wait for it to come back."""
        if self._models.pop(key, None) is not None:
            self._resolve_devices_of(key)

    def put_device(self, device: Device) -> None:
        """A device is new or changed."""
        key = device.key
        if self._devices.get(key) == device:
            return
        self._devices[key] = device
        self._resolve(device)

    def remove_device(self, key: Key) -> None:
        """A device is gone, and with it what was wished of it."""
        self._desired.pop(key, None)
        if self._devices.pop(key, None) is not None:
            self._served.discard(key)
            self._fleet.drop(key)

    def put_desired(self, desired: Desired) -> None:
        """Keep a wish, and pass it on when the device is served."""
        wishes = self._desired.setdefault(desired.device, {})
        known = wishes.get(desired.property)
        if known is not None and not replaces(desired, known):
            return
        wishes[desired.property] = desired
        if desired.device in self._served:
            self._fleet.wish(desired)

    def note_outcome(self, outcome: Outcome) -> None:
        """A wish was written or refused: it is not written again, whatever comes and goes."""
        known = self._desired.get(outcome.device, {}).get(outcome.property)
        if known is None or known.version != outcome.version:
            return
        if outcome.status not in (OutcomeStatus.PENDING, OutcomeStatus.REJECTED):
            self._desired[outcome.device][outcome.property] = replace(known, settled=True)

    def keep_only(self, models: AbstractSet[Key], devices: AbstractSet[Key]) -> None:
        """Forget every model and device that is not in these sets."""
        for key in [key for key in self._devices if key not in devices]:
            self.remove_device(key)
        for key in [key for key in self._desired if key not in devices]:
            del self._desired[key]
        for key in [key for key in self._models if key not in models]:
            self.remove_model(key)

    # ---------------------------------------------------------- resolving ----

    def _resolve_devices_of(self, model: Key) -> None:
        for device in self._devices.values():
            if device.model_key == model:
                self._resolve(device)

    def _resolve(self, device: Device) -> None:
        """Build a device's plan, or say why there can be none."""
        key = device.key
        model = self._models.get(device.model_key)
        protocol = device.spec.protocol.protocol_name or (model.spec.protocol if model else "")
        if protocol and protocol != self._protocol:
            log.debug("device %s is of protocol %s, not ours", key, protocol)
            self._leave(key)
            return
        if model is None:
            self._refuse(key, "unknown", "no_model", f"there is no model {device.model_key}")
            return
        try:
            plan = build_plan(device, model, self._driver_class, self._handles)
        except ConfigError as error:
            log.warning("device %s cannot be served: %s", key, error.message)
            self._refuse(key, "unhealthy", error.reason, error.message)
            return
        for problem in plan.problems.values():
            log.warning("device %s: %s", key, problem)
        fresh = key not in self._served
        self._served.add(key)
        self._fleet.serve(plan)
        if fresh:
            for desired in self._desired.get(key, {}).values():
                self._fleet.wish(desired)

    def _leave(self, key: Key) -> None:
        if key in self._served:
            self._served.discard(key)
            self._fleet.drop(key)

    def _refuse(self, key: Key, state: str, reason: str, message: str) -> None:
        self._served.discard(key)
        self._fleet.refuse(key, state, reason, message)
