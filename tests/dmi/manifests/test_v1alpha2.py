import pytest

from dmi.manifests import Fault, load_manifests, parse_manifests
from dmi.manifests.v1alpha2 import cycle_to_milliseconds
from dmi.resources import AccessMode, DataType

MODEL = """\
apiVersion: devices.kubeedge.io/v1alpha2
kind: DeviceModel
metadata: {name: sensor, namespace: ns1}
spec:
  protocol: modbus
  properties:
    - name: heat
      description: hot or not
      type: {int: {accessMode: ReadWrite, defaultValue: 5, minimum: -5, maximum: 90, unit: C}}
    - {name: ratio, type: {float: {accessMode: ReadOnly, maximum: 0.5}}}
    - {name: exact, type: {double: {}}}
    - {name: label, type: {string: {defaultValue: x}}}
    - {name: running, type: {boolean: {accessMode: ReadWrite}}}
    - {name: raw, type: {bytes: {}}}
"""
DEVICE = """\
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: {name: sensor-1, namespace: ns1, labels: {a: b}}
spec:
  deviceModelRef: {name: sensor}
  nodeSelector:
    nodeSelectorTerms:
      - matchExpressions: [{key: "", operator: In, values: [edge-7]}]
  protocol:
    modbus: {slaveID: 3}
    common:
      com: {serialPort: /dev/ttyS0, baudRate: 9600, dataBits: 8, parity: even, stopBits: 1}
      collectTimeout: 500
      customizedValues: {serialType: RS485}
  propertyVisitors:
    - propertyName: heat
      collectCycle: 5000000000
      reportCycle: 1500000
      customizedValues: {note: kept}
      modbus: {register: CoilRegister, offset: 2, limit: 1, scale: 0.5, isSwap: true}
    - propertyName: ratio
      modbus: {register: InputRegister}
  data: {dataTopic: x, dataProperties: []}
status:
  twins:
    - propertyName: heat
      desired: {value: "7", metadata: {type: int}}
      reported: {value: "6"}
"""


def only(text):
    (manifest,) = load_manifests(text)
    return manifest.object


def test_typed_properties_become_typed_text():
    model = only(MODEL)
    assert model.spec.protocol == "modbus"
    assert {prop.name: prop.type for prop in model.spec.properties} == {
        "heat": DataType.INT,
        "ratio": DataType.FLOAT,
        "exact": DataType.DOUBLE,
        "label": DataType.STRING,
        "running": DataType.BOOLEAN,
        "raw": DataType.BYTES,
    }
    heat, ratio, *_ = model.spec.properties
    assert (heat.minimum, heat.maximum, heat.unit) == ("-5", "90", "C")
    assert heat.access_mode is AccessMode.READ_WRITE
    assert (ratio.minimum, ratio.maximum) == ("", "0.5")


def test_a_modbus_device_becomes_flat_settings():
    device = only(DEVICE)
    assert str(device.key) == "ns1/sensor-1"
    assert device.spec.node_name == "edge-7"
    assert device.spec.protocol.protocol_name == "modbus"
    assert device.spec.protocol.config_data == {
        "slaveID": 3,
        "serialPort": "/dev/ttyS0",
        "baudRate": 9600,
        "dataBits": 8,
        "parity": "even",
        "stopBits": 1,
        "collectTimeout": 500,
        "serialType": "RS485",
    }
    heat, ratio = device.spec.properties
    assert heat.visitors.config_data == {
        "note": "kept",
        "register": "CoilRegister",
        "offset": 2,
        "limit": 1,
        "scale": 0.5,
        "isSwap": True,
    }
    assert (heat.collect_cycle, heat.report_cycle) == (5000, 2)
    assert heat.desired.value == "7"
    assert heat.report_to_cloud
    assert ratio.collect_cycle == 1000
    assert ratio.desired is None
    assert device.to_json()["apiVersion"] == "devices.kubeedge.io/v1beta1"


def replaced(protocol, visitor):
    text = DEVICE[: DEVICE.index("  protocol:")]
    return f"{text}  protocol: {protocol}\n  propertyVisitors: [{visitor}]\n"


@pytest.mark.parametrize(
    ("protocol", "visitor", "name", "config", "visit"),
    [
        (
            "{opcua: {url: 'opc.tcp://h:1', userName: u, securityMode: Sign}}",
            "{propertyName: p, opcua: {nodeID: 'ns=1,i=5', browseName: b}}",
            "opcua",
            {"url": "opc.tcp://h:1", "userName": "u", "securityMode": "Sign"},
            {"nodeID": "ns=1,i=5", "browseName": "b"},
        ),
        (
            "{bluetooth: {macAddress: '00:11:22:33:44:55'}}",
            "{propertyName: p, bluetooth: {characteristicUUID: f0, dataConverter: {startIndex: 1,"
            " orderOfOperations: [{operationType: Multiply, operationValue: 0.1}]}}}",
            "bluetooth",
            {"macAddress": "00:11:22:33:44:55"},
            {
                "characteristicUUID": "f0",
                "dataConverter": {
                    "startIndex": 1,
                    "orderOfOperations": [{"operationType": "Multiply", "operationValue": 0.1}],
                },
            },
        ),
        (
            "{customizedProtocol: {protocolName: acme, configData: {id: 1}},"
            " common: {tcp: {ip: h, port: 5}, commType: x}}",
            "{propertyName: p, customizedProtocol: {protocolName: acme, configData: {k: v}}}",
            "acme",
            {"id": 1, "ip": "h", "port": 5, "commType": "x"},
            {"k": "v"},
        ),
        ("{}", "{propertyName: p}", "", {}, {}),
    ],
)
def test_other_protocols(protocol, visitor, name, config, visit):
    spec = only(replaced(protocol, visitor)).spec
    assert spec.protocol.protocol_name == spec.properties[0].visitors.protocol_name == name
    assert spec.protocol.config_data == config
    assert spec.properties[0].visitors.config_data == visit


@pytest.mark.parametrize(
    ("old", "new", "path", "words"),
    [
        ("slaveID: 3", "slaveID: 300", "spec.protocol.modbus.slaveID", "255 or less"),
        ("slaveID: 3", "slaveId: 3", "spec.protocol.modbus.slaveId", "did you mean 'slaveID'?"),
        ("parity: even", "parity: mark", "spec.protocol.common.com.parity", "one of none, even"),
        (
            "register: CoilRegister",
            "register: Coil",
            "spec.propertyVisitors[0].modbus.register",
            "CoilRegister",
        ),
        (
            "modbus: {slaveID: 3}",
            "modbus: {slaveID: 3}\n    opcua: {}",
            "spec.protocol",
            "only one of opcua and modbus may be set",
        ),
        (
            "modbus: {register: InputRegister}",
            "{modbus: {register: InputRegister}, bluetooth: {}}".strip("{}") + "}",
            "spec.propertyVisitors[1]",
            "only one of modbus and bluetooth",
        ),
        (
            "propertyName: ratio",
            "propertyName: heat",
            "spec.propertyVisitors[1].propertyName",
            "already number 1",
        ),
    ],
)
def test_mistakes_have_the_paths_of_v1alpha2(old, new, path, words):
    text = DEVICE.replace(old, new)
    if "bluetooth" in new:
        text = DEVICE.replace(
            "      modbus: {register: InputRegister}",
            "      modbus: {register: InputRegister}\n      bluetooth: {}",
        )
    _, mistakes = parse_manifests(text, "f")
    assert [mistake.path for mistake in mistakes] == [path]
    assert words in str(mistakes[0])
    assert mistakes[0].line > 5


@pytest.mark.parametrize("kind", ["{}", "{int: {}, string: {}}"])
def test_a_type_is_exactly_one(kind):
    text = MODEL[: MODEL.index("    - name")] + f"    - {{name: a, type: {kind}}}\n"
    _, (mistake,) = parse_manifests(text, "f")
    assert mistake.path == "spec.properties[0].type"
    assert "one of" in mistake.problem


def test_faults_of_models_keep_their_paths():
    (manifest,) = load_manifests(MODEL)
    assert manifest.mistake(Fault(("spec", "properties", 1, "name"), "x")).path == (
        "spec.properties[1].name"
    )


def test_several_nodes_are_no_node():
    text = DEVICE.replace("values: [edge-7]", "values: [edge-7, edge-8]")
    assert only(text).spec.node_name == ""


def test_there_was_no_device_status():
    _, (mistake,) = parse_manifests(
        "{apiVersion: devices.kubeedge.io/v1alpha2, kind: DeviceStatus, metadata: {name: a}}", "f"
    )
    assert mistake.path == "apiVersion"


@pytest.mark.parametrize(
    ("cycle", "milliseconds"),
    [(0, 1000), (5000, 5000), (999_999, 999_999), (1_000_000, 1), (10_000_000_000, 10_000)],
)
def test_cycles_were_nanoseconds(cycle, milliseconds):
    assert cycle_to_milliseconds(cycle) == milliseconds
