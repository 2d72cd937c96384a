"""Devices as KubeEdge's own samples write them, through models, planning and a real server."""

from itertools import count

import pytest

from dmi.resources import Device, DeviceModel
from mapper_sdk.devices.planning import build_plan
from mapper_sdk.sessions.bus import Bus
from mappers.modbus.driver import ModbusDriver
from mappers.modbus.visit import Register


def planned(protocol, properties, types):
    """A v1beta1 device and model, made of configData alone."""
    metadata = {"name": "sample", "namespace": "default"}
    model = DeviceModel.model_validate(
        {
            "metadata": metadata,
            "spec": {
                "protocol": "modbus",
                "properties": [
                    {"name": name, "type": kind, "accessMode": "ReadWrite"}
                    for name, kind in types.items()
                ],
            },
        }
    )
    device = Device.model_validate(
        {
            "metadata": metadata,
            "spec": {
                "deviceModelRef": {"name": "sample"},
                "protocol": {"protocolName": "modbus", "configData": protocol},
                "properties": [
                    {"name": name, "visitors": {"protocolName": "modbus", "configData": data}}
                    for name, data in properties.items()
                ],
            },
        }
    )
    plan = build_plan(device, model, ModbusDriver, count())
    assert plan.problems == {}
    return plan


@pytest.fixture
async def read(simulator):
    drivers = []

    async def read_all(properties, types):
        protocol = {"ip": "127.0.0.1", "port": float(simulator.port), "slaveID": 4.0}
        plan = planned(protocol, properties, types)
        driver = ModbusDriver(plan.link)
        driver.bus = Bus()
        drivers.append(driver)
        await driver.connect()
        points = list(plan.points.values())
        answers = await driver.read([point.visit for point in points])
        return {
            point.name: point.convert(answer, 0.0).value
            for point, answer in zip(points, answers, strict=True)
        }

    yield read_all
    for driver in drivers:
        await driver.close()


async def test_each_declared_type_with_limit_scale_and_swaps(simulator, read):
    table = simulator.tables(4)[Register.HOLDING]
    table.update({10: 203, 20: 0x0001, 21: 0xE240, 30: 0x0000, 31: 0x41A4})
    table.update({40: 0x3412, 50: 0x4869, 51: 0x2100})
    simulator.tables(4)[Register.COIL][2] = 1
    holding = {"register": "HoldingRegister"}
    values = await read(
        {
            "temp": {**holding, "offset": 10.0, "limit": 1.0, "scale": 0.1},
            "counter": {**holding, "offset": 20, "limit": 2, "scale": 1, "isSwap": False},
            "float": {**holding, "offset": 30, "limit": 2, "isRegisterSwap": True},
            "swapped": {**holding, "offset": 40, "limit": 1, "isSwap": True},
            "text": {**holding, "offset": 50, "limit": 2},
            "switch": {
                "register": "CoilRegister",
                "offset": 2,
                "limit": 1,
                "scale": 1,
                "isSwap": True,
                "isRegisterSwap": True,
            },
            "state": {"register": "CoilRegister", "offset": 2, "limit": 1},
        },
        {
            "temp": "FLOAT",
            "counter": "INT",
            "float": "FLOAT",
            "swapped": "INT",
            "text": "STRING",
            "switch": "INT",
            "state": "BOOLEAN",
        },
    )
    assert values == {
        "temp": 20.3,
        "counter": 123456,
        "float": 20.5,
        "swapped": 0x1234,
        "text": "Hi!",
        "switch": 1,
        "state": True,
    }


def test_the_serial_sample():
    plan = planned(
        {
            "slaveID": 1,
            "serialPort": "1",
            "baudRate": 115200,
            "dataBits": 8,
            "parity": "even",
            "stopBits": 1,
        },
        {"temperature": {"register": "CoilRegister", "offset": 2, "limit": 1, "scale": 1}},
        {"temperature": "INT"},
    )
    assert plan.bus_key == "modbus:serial:1"
