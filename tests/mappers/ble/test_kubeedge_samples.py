"""A device as KubeEdge's own sample for Bluetooth is built, from its v1alpha2 file to values."""

from itertools import count

import pytest

from dmi.manifests import load_manifests
from dmi.resources import Device
from mapper_sdk.planning import build_plan
from mappers.ble.driver import BleDriver
from mappers.ble.simulation.peripherals import HEATER as UUIDS

MODEL = """\
apiVersion: devices.kubeedge.io/v1alpha2
kind: DeviceModel
metadata: {name: sensor-tag}
spec:
  protocol: bluetooth
  properties:
    - {name: temperature, type: {double: {accessMode: ReadOnly}}}
    - {name: temperature-enable, type: {string: {accessMode: ReadWrite, defaultValue: "OFF"}}}
"""
DEVICE = """\
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: {{name: sensor-tag-1}}
spec:
  deviceModelRef: {{name: sensor-tag}}
  nodeSelector:
    nodeSelectorTerms:
      - matchExpressions: [{{key: "", operator: In, values: [edge-node]}}]
  protocol:
    bluetooth: {{macAddress: "F0:00:00:00:00:02"}}
    common: {{collectTimeout: 500, customizedValues: {{radio: "{radio}"}}}}
  propertyVisitors:
    - propertyName: temperature
      collectCycle: 500000000
      bluetooth:
        characteristicUUID: {log}
        dataConverter:
          startIndex: 2
          endIndex: 1
          shiftRight: 2
          orderOfOperations: [{{operationType: Multiply, operationValue: 0.03125}}]
    - propertyName: temperature-enable
      bluetooth:
        characteristicUUID: {boost}
        dataWrite: {{"ON": [1], "OFF": [0]}}
"""


@pytest.fixture
def plan(simulator):
    # Its UUIDs stand there without dashes.
    plain = {name: UUIDS[name].replace("-", "") for name in ("log", "boost")}
    text = MODEL + "---\n" + DEVICE.format(radio=simulator.radio, **plain)
    found = {type(one.object): one.object for one in load_manifests(text)}
    device = found.pop(Device)
    (model,) = found.values()
    return build_plan(device, model, BleDriver, count())


async def test_the_sample_is_served_as_it_stands(plan, simulator, bus):
    assert plan.problems == {}
    temperature, enable = plan.points["temperature"], plan.points["temperature-enable"]
    driver = BleDriver(plan.link)
    driver.bus = bus
    await driver.connect()
    try:
        assert await driver.read([temperature.visit]) == [(0x0201 >> 2) * 0.03125]
        for word, written in (("ON", 1), ("OFF", 0)):
            await driver.write(enable.visit, word)
            await driver.read([temperature.visit])
            assert simulator.heater.boosted == written
    finally:
        await driver.close()
