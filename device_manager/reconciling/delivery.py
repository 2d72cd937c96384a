"""Bringing one v1beta1 mapper into step with what is wanted, one call at a time."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from device_manager.node import Node, mapper_id
from device_manager.reconciling.actual import Item
from device_manager.reconciling.operations import (
    Executor,
    Operation,
    Verb,
    digest,
    wanted_device,
    wanted_devices,
    wanted_model,
    wanted_models,
)
from device_manager.reconciling.workqueue import WorkQueue
from device_manager.records import Change, MapperRecord
from dmi.clock import Clock
from dmi.errors import DeadlineError, DmiError, UnavailableError
from dmi.resources import Device, DeviceModel, Key

__all__ = ["Delivery"]

log = logging.getLogger(__name__)

DEVICE: Final = "Device"
MODEL: Final = "DeviceModel"
_REMOVE_DEVICE, _REMOVE_MODEL, _PUT_MODEL, _PUT_DEVICE = range(4)
"""Urgency: what goes makes room for what comes, and a device needs its model on both ways."""
_LONGEST_AWAY: Final = 4.0


class Delivery:
    """One mapper, from its registration until it registers again.

    While mappers of DMI v1 serve its protocol, nothing is wanted of it: two that poll one
    device would disturb each other.

    Attributes:
        record: Who it is.
        errors: For each object that the mapper does not take, why.
    """

    def __init__(
        self,
        node: Node,
        record: MapperRecord,
        executor: Executor,
        clock: Clock,
        *,
        deadline: float,
        chance: Callable[[], float],
        gives_way: bool = False,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            node: What is wanted, and what the mapper holds.
            record: The mapper.
            executor: Makes the calls.
            clock: For delays.
            deadline: How long a call may take, in seconds.
            chance: Spreads delays.
            gives_way: Whether mappers of DMI v1 serve its protocol now.
        """
        self.record = record
        self.errors: dict[Item, str] = {}
        self._node = node
        self._protocol = record.protocol
        self._executor = executor
        self._clock = clock
        self._deadline = deadline
        self._queue: WorkQueue[Item] = WorkQueue(clock, chance=chance)
        self._blocked: set[Item] = set()
        self._away = 0
        self._gives_way = gives_way
        self.touch_all()

    @property
    def pending(self) -> int:
        """How many objects are not known to be in step."""
        return len(self._queue.waiting() | self._blocked)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with self._queue:
            while True:
                item = await self._queue.get()
                try:
                    await self._bring(item)
                finally:
                    self._queue.done(item)

    def touch(self, changes: Iterable[Change]) -> None:
        """Something has changed; look at what it may mean for this mapper."""
        moved = False
        for change in changes:
            if change.kind == "model":
                self._touch_model(change.key)
                continue
            self._add((DEVICE, change.key))
            if change.kind == "device":
                moved = True
                if (device := self._node.devices.get(change.key)) is not None:
                    self._add((MODEL, device.model_key))
        if moved:
            self._touch_unwanted_models()

    def touch_all(self) -> None:
        """Anything may have changed."""
        for item in {**self._held, **dict.fromkeys(self._wanted())}:
            self._add(item)

    def give_way(self, gives_way: bool) -> None:
        """Mappers of DMI v1 serve the protocol now, or none does any more."""
        if gives_way != self._gives_way:
            self._gives_way = gives_way
            self.touch_all()

    def _touch_model(self, key: Key) -> None:
        self._add((MODEL, key))
        # Its defaults are merged into its devices.
        for user in self._node.users(key):
            self._add((DEVICE, user))

    def _touch_unwanted_models(self) -> None:
        """A device that went, or has another model, may have been the last of its model."""
        for item in self._held:
            if item[0] == MODEL and self._model(item[1]) is None:
                self._add(item)

    def _model(self, key: Key) -> DeviceModel | None:
        """What the mapper should hold of a model."""
        return None if self._gives_way else wanted_model(self._node, self._protocol, key)

    def _device(self, key: Key) -> Device | None:
        """What the mapper should hold of a device."""
        return None if self._gives_way else wanted_device(self._node, self._protocol, key)

    def _wanted(self) -> list[Item]:
        if self._gives_way:
            return []
        models = wanted_models(self._node, self._protocol)
        devices = wanted_devices(self._node, self._protocol)
        return [*((MODEL, key) for key in models), *((DEVICE, key) for key in devices)]

    @property
    def _held(self) -> Mapping[Item, bytes]:
        return self._node.actual.held(self._protocol)

    def _add(self, item: Item) -> None:
        there = self._is_wanted(item)
        if there or item in self._held:
            self._queue.add(item, _urgency(item, there=there))
        else:
            self._settled(item)

    def _is_wanted(self, item: Item) -> bool:
        kind, key = item
        if kind == MODEL:
            return self._model(key) is not None
        device = None if self._gives_way else self._node.devices.get(key)
        return device is not None and device.spec.protocol.protocol_name == self._protocol

    def _settled(self, item: Item) -> None:
        """Nothing is to be done for this object now."""
        self._queue.forget(item)
        self.errors.pop(item, None)
        if item[0] == DEVICE:
            # The models that had to stay for the sake of a device.
            blocked, self._blocked = self._blocked, set()
            for model in blocked:
                self._add(model)

    async def _bring(self, item: Item) -> None:
        """Bring one object into step, or see to it that it is tried again."""
        operation = self._operation(item)
        if operation is None:
            self._settled(item)
            return
        try:
            await self._call(operation)
        except DeadlineError as error:
            self._failed(item, operation, error)
        except UnavailableError as error:
            await self._not_there(item, error)
        except DmiError as error:
            self._failed(item, operation, error)
        else:
            await self._succeeded(item, operation)

    async def _call(self, operation: Operation) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._executor.call(self.record, operation)
        except TimeoutError as error:
            raise DeadlineError(f"no answer within {self._deadline:g} s") from error

    def _operation(self, item: Item) -> Operation | None:
        """What is to be done now; None when nothing, or when something else comes first."""
        kind, key = item
        held = self._held.get(item)
        if kind == MODEL:
            model = self._model(key)
            if model is None:
                return self._model_removal(item) if held is not None else None
            if held == digest(model):
                return None
            verb = Verb.CREATE_MODEL if held is None else Verb.UPDATE_MODEL
            return Operation(verb, key, model)
        device = self._device(key)
        if device is None:
            return Operation(Verb.REMOVE_DEVICE, key) if held is not None else None
        if held == digest(device) or not self._has_model(device.model_key):
            return None
        verb = Verb.REGISTER_DEVICE if held is None else Verb.UPDATE_DEVICE
        return Operation(verb, key, device)

    def _has_model(self, key: Key) -> bool:
        """Whether the mapper holds the model as it is now; its devices follow when it does."""
        model = self._model(key)
        held = self._held.get((MODEL, key))
        if model is not None and held == digest(model):
            return True
        if (MODEL, key) not in self._queue.waiting():
            self._add((MODEL, key))
        return False

    def _model_removal(self, item: Item) -> Operation | None:
        """A model goes after the last device that may still use it."""
        if any(other[0] == DEVICE and other in self._held for other in self._queue.waiting()):
            self._blocked.add(item)
            return None
        return Operation(Verb.REMOVE_MODEL, item[1])

    async def _succeeded(self, item: Item, operation: Operation) -> None:
        log.debug("mapper %s: %s", self.record.name, operation)
        if operation.subject is None:
            self._node.actual.drop(self._protocol, item)
        else:
            self._node.actual.accept(self._protocol, item, digest(operation.subject))
        self._settled(item)
        # What was wanted may have changed during the call.
        self._add(item)
        if item[0] == MODEL:
            for user in self._node.users(item[1]):
                self._add((DEVICE, user))
        await self._seen(alive=True)

    def _failed(self, item: Item, operation: Operation, error: DmiError) -> None:
        first = item not in self.errors
        self.errors[item] = f"{operation.verb}: {error}"
        delay = self._queue.retry(item, _urgency(item, there=self._is_wanted(item)))
        level = logging.WARNING if first else logging.DEBUG
        text = "mapper %s: %s failed, again in %.1f s: %s"
        log.log(level, text, self.record.name, operation, delay, error)

    async def _not_there(self, item: Item, error: UnavailableError) -> None:
        if self._gives_way:
            # Nothing is wanted of it, and who is not there serves nothing.
            self._node.actual.replace(self._protocol, {})
            await self._seen(alive=False)
            self._settled(item)
        else:
            self._add(item)
            await self._wait_for_mapper(error)

    async def _wait_for_mapper(self, error: UnavailableError) -> None:
        """Nobody listens: one wait for all objects, not one each."""
        level = logging.DEBUG if self._away else logging.WARNING
        log.log(level, "mapper %s is away: %s", self.record.name, error)
        self._away += 1
        await self._seen(alive=False)
        await self._clock.sleep(min(_LONGEST_AWAY, 0.25 * 2 ** min(self._away, 10)))

    async def _seen(self, *, alive: bool) -> None:
        if alive:
            self._away = 0
        known = self._node.mappers.get(mapper_id(self.record), self.record)
        if known.alive == alive:
            return
        seen = self._clock.time() if alive else known.last_seen
        self.record = replace(known, alive=alive, last_seen=seen)
        # Not on disk yet, but it will be; the mapper must not wait for the disk.
        with suppress(UnavailableError):
            await self._node.put_mapper(self.record)


def _urgency(item: Item, *, there: bool) -> int:
    if item[0] == MODEL:
        return _PUT_MODEL if there else _REMOVE_MODEL
    return _PUT_DEVICE if there else _REMOVE_DEVICE
