import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest

from dmi.readings import Reading
from dmi.reports import Desired, Registration
from dmi.resources import AccessMode, DataType, Device, DeviceModel, Key
from mapper_sdk.devices.plan import Point
from mapper_sdk.link.base import Link


class Recorder:
    """A `Served` that keeps what a mapper would hold, and what it was told."""

    def __init__(self) -> None:
        self.models: dict[Key, DeviceModel] = {}
        self.devices: dict[Key, Device] = {}
        self.desired: dict[tuple[Key, str], Desired] = {}
        self.told: list[str] = []

    def put_model(self, model: DeviceModel) -> None:
        self.models[model.key] = model
        self.told.append(f"model {model.key.name}")

    def remove_model(self, key: Key) -> None:
        self.models.pop(key, None)
        self.told.append(f"no model {key.name}")

    def put_device(self, device: Device) -> None:
        self.devices[device.key] = device
        self.told.append(f"device {device.key.name}")

    def remove_device(self, key: Key) -> None:
        self.devices.pop(key, None)
        self.told.append(f"no device {key.name}")

    def put_desired(self, desired: Desired) -> None:
        self.desired[desired.device, desired.property] = desired
        self.told.append(f"desired {desired.device.name} {desired.property} {desired.value!r}")

    def keep_only(self, models, devices) -> None:
        self.models = {key: value for key, value in self.models.items() if key in models}
        self.devices = {key: value for key, value in self.devices.items() if key in devices}
        self.told.append("kept only")

    @property
    def names(self) -> set[str]:
        return {key.name for key in self.devices}


class Plant:
    """Makes resources and points of one little plant."""

    registration = Registration(
        name="thermo-mapper", protocol="thermo", instance="0", version="1.0", abilities=("read",)
    )

    def __init__(self) -> None:
        self._handle = 0
        self.points: dict[tuple[str, str], Point] = {}

    def model(self, name: str = "kiln", maximum: str = "900") -> DeviceModel:
        properties = [
            {
                "name": "temperature",
                "type": "DOUBLE",
                "accessMode": "ReadWrite",
                "maximum": maximum,
                "visitors": {"configData": {"register": 7}},
            },
            {"name": "label", "type": "STRING", "accessMode": "ReadOnly"},
        ]
        return DeviceModel.model_validate(
            {
                "metadata": {"name": name, "namespace": "plant"},
                "spec": {"protocol": "thermo", "properties": properties},
            }
        )

    def device(self, name: str = "kiln-1", desired: str = "", **spec: object) -> Device:
        properties: list[dict[str, object]] = [
            {"name": "temperature", "reportToCloud": True, "collectCycle": 500},
            {"name": "label"},
        ]
        if desired:
            properties[0]["desired"] = {"value": desired}
        return Device.model_validate(
            {
                "metadata": {"name": name, "namespace": "plant"},
                "spec": {
                    "deviceModelRef": {"name": "kiln"},
                    "nodeName": "edge-1",
                    "protocol": {"protocolName": "thermo", "configData": {"host": "h"}},
                    "properties": properties,
                    **spec,
                },
            }
        )

    def point(self, device: str = "kiln-1", name: str = "temperature") -> Point:
        known = self.points.get((device, name))
        if known is None:
            self._handle += 1
            known = self.points[device, name] = Point(
                handle=self._handle,
                device=Key("plant", device),
                name=name,
                type=DataType.STRING if name == "label" else DataType.DOUBLE,
                access=AccessMode.READ_WRITE,
                visit=None,
                to_cloud=True,
            )
        return known

    def reading(self, value: object, device: str = "kiln-1", name: str = "temperature"):
        return self.point(device, name), Reading(value, time.time())


@pytest.fixture
def served() -> Recorder:
    return Recorder()


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.fixture
def eventually():
    """Wait until a condition holds; the test fails if it does not in time."""

    async def wait(condition: Callable[[], object], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - any condition, not only events
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def running():
    """Run a link for the length of a block."""

    @asynccontextmanager
    async def run(link: Link, served: Recorder):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(link.run(served))
            yield link
            task.cancel()

    return run
