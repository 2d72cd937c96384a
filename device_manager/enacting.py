"""Making true, in memory, what has been committed."""

from functools import partial

from device_manager import events
from device_manager.changes import ChangeLog
from device_manager.desired import Desired
from device_manager.known import Known
from device_manager.planning import Plan
from device_manager.records import Wish
from device_manager.storage.rows import Twin
from dmi.feed import Feed
from dmi.resources import Device, DeviceModel, Key

__all__ = ["Enactor"]


class Enactor:
    """Carries out plans, and tells the feed and those who watch."""

    def __init__(
        self, desired: Desired, known: Known, log: ChangeLog, feed: Feed[events.Json]
    ) -> None:
        self._desired = desired
        self._known = known
        self._log = log
        self._feed = feed

    def enact(self, plan: Plan) -> None:
        """Carry out a plan whose statements are on disk."""
        for model_key, model in plan.models.items():
            self._model(plan, model_key, model)
        for key, device in plan.devices.items():
            self._device(plan, key, device)
        for twin in plan.removed:
            self._known.remove(twin)
        for twin in plan.added:
            self._known.add(twin)
        for twin, text, version in plan.specs:
            twin.spec_text, twin.spec_version = text, version
        for twin, wish in plan.wishes:
            self._wish(twin, wish)
        for change in plan.changes:
            self._log.record(change)

    def _model(self, plan: Plan, key: Key, model: DeviceModel | None) -> None:
        problems = self._desired.problems
        before = {user: problems.get(user, "") for user in self._desired.users(key)}
        if model is None:
            self._desired.remove("DeviceModel", key)
            self._feed.publish(partial(events.gone, "model", key))
        else:
            self._desired.put(model, plan.origin)
            self._feed.publish(partial(events.model, model))
        for user, problem in before.items():
            if problems.get(user, "") != problem:
                self._tell(self._desired.devices[user])

    def _device(self, plan: Plan, key: Key, device: Device | None) -> None:
        if device is None:
            self._desired.remove("Device", key)
            self._known.forget(key)
            self._feed.publish(partial(events.gone, "device", key))
            return
        self._desired.put(device, plan.origin)
        self._known.twins.setdefault(key, {})
        self._tell(device)

    def _tell(self, device: Device) -> None:
        problem = self._desired.problems.get(device.key, "")
        self._feed.publish(partial(events.device, device, problem))

    def _wish(self, twin: Twin, wish: Wish | int) -> None:
        if isinstance(wish, Wish):
            self._known.put_wish(twin, wish)
        elif twin.desired is not None and twin.desired.version == wish:
            self._known.put_wish(twin, None)
