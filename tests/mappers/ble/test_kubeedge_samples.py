"""A device as KubeEdge's own sample for Bluetooth is built, from its v1alpha2 file to values."""

from itertools import count

import pytest
import yaml
from pydantic import ValidationError

from dmi.manifests import load_manifests
from dmi.resources import Device
from mapper_sdk.devices.planning import build_plan
from mappers.ble.driver import BleDriver
from mappers.ble.links.exchange import decode, encode
from mappers.ble.simulation.peripherals import HEATER as UUIDS
from mappers.ble.visit import BleVisit

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


# The settings of kubeedge/kubeedge build/crd-samples/devices/CC2650-device-instance.yaml, with its
# indentation, and of the SmartRF06EB sample of kubeedge/mappers-go.
SAMPLES = """
temperature: [int, {characteristicUUID: f000aa0104514000b000000000000000, dataConverter: null,
  startIndex: 1, endIndex: 0, shiftRight: 2,
  orderOfOperations: [{operationType: Multiply, operationValue: 0.03125}]}]
temperature-enable: [string, {characteristicUUID: f000aa0204514000b000000000000000,
  dataWrite: null, "ON": [1], "OFF": [0]}]
io-config-initialize: [int, {characteristicUUID: f000aa6604514000b000000000000000}]
io-data: [int, {characteristicUUID: f000aa6504514000b000000000000000, dataWrite: null,
  Red: [1], Green: [2], RedGreen: [3], Buzzer: [4]}]
simpleprofilechar1: [int, {characteristicUUID: fff1, dataWrite: {"1": [1], "A": [10]}}]
simpleprofilechar2: [int, {characteristicUUID: fff2}]
"""


def sample(name):
    declared, settings = yaml.safe_load(SAMPLES)[name]
    return BleVisit.model_validate(settings, context={"type": declared})


def test_the_settings_of_the_samples_are_read():
    assert decode(bytes([0x01, 0x02]), sample("temperature")) == (0x0201 >> 2) * 0.03125
    assert encode(sample("temperature-enable"), "ON", b"") == b"\x01"
    assert decode(b"\x00", sample("temperature-enable")) == "OFF"
    assert encode(sample("io-data"), "RedGreen", b"") == b"\x03"
    assert decode(b"\x07", sample("io-config-initialize")) == 7
    assert encode(sample("io-config-initialize"), 1, b"") == b"\x01"
    assert encode(sample("simpleprofilechar1"), "A", b"") == b"\x0a"
    assert encode(sample("simpleprofilechar1"), 1, b"") == b"\x01"
    assert decode(b"\x2a", sample("simpleprofilechar2")) == 42


def test_a_word_without_its_heading_is_still_a_mistake():
    with pytest.raises(ValidationError, match="Extra inputs"):
        BleVisit.model_validate({"characteristic": "fff1", "type": "uint8", "Red": [1]})
