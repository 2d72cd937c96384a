"""Devices and models over v1beta1: complete both ways, never crashing a peer, nil parts named."""

import pytest

from dmi.convert.v1beta1 import (
    device_from_v1beta1,
    device_to_v1beta1,
    inventory_from_v1beta1,
    key_from_v1beta1,
    model_from_v1beta1,
    model_to_v1beta1,
)
from dmi.errors import ConfigError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.resources import AccessMode, DataType, Device, DeviceModel, Key

PUSH = {
    "http": {"hostName": "http://10.0.0.9", "port": 8080, "requestPath": "/in", "timeout": 3000},
    "mqtt": {"address": "tcp://127.0.0.1:1883", "topic": "kilns", "qos": 1, "retained": True},
    "otel": {"endpointURL": "https://collector:4318/v1/metrics"},
    "dbMethod": {
        "influxdb2": {
            "influxdb2ClientConfig": {"url": "http://db:8086", "org": "o", "bucket": "b"},
            "influxdb2DataConfig": {"measurement": "m", "tag": {"hall": "3"}, "fieldKey": "value"},
        },
        "redis": {
            "redisClientConfig": {"addr": "r:6379", "db": 1, "poolsize": 5, "minIdleConns": 2}
        },
        "TDEngine": {"TDEngineClientConfig": {"addr": "t:6041", "dbName": "plant"}},
        "mysql": {"mysqlClientConfig": {"addr": "m:3306", "database": "d", "userName": "u"}},
    },
    "anomalyDetection": {"window": 30, "method": "zscore"},
}
SPEC = {
    "deviceModelRef": {"name": "kiln"},
    "protocol": {
        "protocolName": "modbus",
        "configData": {"ip": "10.0.0.5", "port": 502, "fast": True},
    },
    "properties": [
        {
            "name": "setpoint",
            "desired": {"value": "740", "metadata": {"type": "int"}},
            "visitors": {
                "protocolName": "modbus",
                "configData": {"offset": 16777217, "scale": 0.1},
            },
            "collectCycle": 500,
            "reportCycle": 2000,
            "reportToCloud": True,
            "pushMethod": PUSH,
        },
        {"name": "temperature"},
    ],
    "methods": [{"name": "set", "description": "Set it.", "propertyNames": ["setpoint"]}],
    "stateReport": {"reportToCloud": True, "reportCycle": 3000},
}
DEVICE = Device.model_validate({"metadata": {"name": "kiln-7", "namespace": "plant"}, "spec": SPEC})
MODEL = DeviceModel.model_validate(
    {
        "metadata": {"name": "kiln", "namespace": "plant"},
        "spec": {
            "properties": [
                {
                    "name": "setpoint",
                    "description": "What it shall reach.",
                    "type": "FLOAT",
                    "accessMode": "ReadWrite",
                    "minimum": "0",
                    "maximum": "1200.5",
                    "unit": "°C",
                },
                {"name": "temperature", "type": "INT"},
            ],
        },
    }
)


def sent(message):
    """What the other side gets."""
    return type(message).FromString(message.SerializeToString())


def device_with(**changes):
    return Device.model_validate(
        {"metadata": {"name": "kiln-7", "namespace": "plant"}, "spec": {**SPEC, **changes}}
    )


def test_a_device_there_and_back():
    back = device_from_v1beta1(sent(device_to_v1beta1(DEVICE)))
    assert back.key == DEVICE.key
    assert back.spec == DEVICE.spec


@pytest.mark.parametrize("target", [*PUSH, "everything"])
def test_every_push_method_there_and_back(target):
    push = PUSH if target == "everything" else {target: PUSH[target]}
    device = device_with(properties=[{"name": "p", "pushMethod": push}])
    message = sent(device_to_v1beta1(device))
    back = device_from_v1beta1(message)
    assert back.spec.properties[0].push_method.to_json() == push


@pytest.mark.parametrize("target", PUSH["dbMethod"])
def test_every_database_alone(target):
    push = {"dbMethod": {target: PUSH["dbMethod"][target]}}
    device = device_with(properties=[{"name": "p", "pushMethod": push}])
    back = device_from_v1beta1(sent(device_to_v1beta1(device)))
    assert back.spec.properties[0].push_method.to_json() == push


def test_push_fields_land_where_the_contract_has_them():
    message = device_to_v1beta1(DEVICE).spec.properties[0].pushMethod
    assert message.http.hostname == "http://10.0.0.9"
    assert message.http.requestpath == "/in"
    assert message.otel.endpointURL == "https://collector:4318/v1/metrics"
    assert message.dbMethod.tdengine.tdEngineClientConfig.dbname == "plant"
    assert message.dbMethod.influxdb2.influxdb2DataConfig.tag == {"hall": "3"}
    assert message.anomalyDetection.data["window"].TypeName() == "google.protobuf.Int64Value"


def test_a_null_push_target_is_none():
    device = device_with(properties=[{"name": "p", "pushMethod": {"http": None}}])
    message = device_to_v1beta1(device).spec.properties[0]
    assert message.HasField("pushMethod")
    assert not message.pushMethod.HasField("http")


def test_the_barest_device_has_every_part_that_go_mappers_dereference():
    bare = Device.model_validate(
        {"metadata": {"name": "bare"}, "spec": {"properties": [{"name": "p"}]}}
    )
    message = sent(device_to_v1beta1(bare))
    assert message.HasField("spec")
    assert message.HasField("status")
    assert message.spec.HasField("protocol")
    assert message.spec.protocol.HasField("configData")
    [prop] = message.spec.properties
    assert prop.HasField("desired")
    assert prop.HasField("visitors")
    assert prop.visitors.HasField("configData")
    assert not prop.HasField("pushMethod")
    assert (prop.collectCycle, prop.reportCycle) == (1000, 1000)
    assert message.status.reportCycle == 1000
    assert not message.status.reportToCloud


def test_wishes_of_now_replace_those_of_the_resource():
    message = device_to_v1beta1(DEVICE, {"temperature": "20", "setpoint": "741"})
    setpoint, temperature = message.spec.properties
    assert (setpoint.desired.value, temperature.desired.value) == ("741", "20")
    assert not setpoint.desired.metadata
    setpoint, temperature = device_to_v1beta1(DEVICE, {}).spec.properties
    assert (setpoint.desired.value, temperature.desired.value) == ("", "")
    setpoint, _ = device_to_v1beta1(DEVICE).spec.properties
    assert setpoint.desired.value == "740"
    assert setpoint.desired.metadata == {"type": "int"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": {"configData": {"bad": float("nan")}}}, "configData.bad: nan"),
        (
            {"properties": [{"name": "p", "pushMethod": {"mqtt": {"topic": "\ud800"}}}]},
            "cannot be sent",
        ),
        (
            {"properties": [{"name": "p", "pushMethod": {"http": {"port": 2**70}}}]},
            "cannot be sent",
        ),
        ({"properties": [{"name": "p", "collectCycle": 2**70}]}, "cannot be sent"),
    ],
)
def test_what_cannot_travel_is_named_with_its_device(changes, words):
    with pytest.raises(ConfigError, match=f"plant/kiln-7: .*{words}") as caught:
        device_to_v1beta1(device_with(**changes))
    assert caught.value.device == "plant/kiln-7"


def test_a_device_as_edgecore_sends_it():
    message = pb.Device(name="kiln-7")
    message.spec.deviceModelReference = "kiln"
    message.spec.protocol.protocolName = "modbus"
    prop = message.spec.properties.add(name="temperature")
    prop.desired.SetInParent()
    device = device_from_v1beta1(sent(message))
    assert device.key == Key("default", "kiln-7")
    assert device.model_key == Key("default", "kiln")
    [read] = device.spec.properties
    assert read.desired is None
    assert (read.collect_cycle, read.report_cycle) == (1000, 1000)
    assert read.visitors.config_data == {}
    assert device.spec.state_report.report_cycle == 1000


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (pb.Device(), "the name of the device or model is missing"),
        (pb.Device(name="kiln-7", namespace="plant"), "plant/kiln-7: spec is missing"),
        (
            pb.Device(name="kiln-7", spec=pb.DeviceSpec()),
            "default/kiln-7: spec.protocol is missing",
        ),
        (
            pb.Device(
                name="k",
                spec=pb.DeviceSpec(protocol=pb.ProtocolConfig(), properties=[pb.DeviceProperty()]),
            ),
            "default/k: spec.properties.0.name",
        ),
        (
            pb.Device(
                name="k",
                spec=pb.DeviceSpec(
                    protocol=pb.ProtocolConfig(),
                    properties=[pb.DeviceProperty(name="p", collectCycle=-1)],
                ),
            ),
            "spec.properties.0.collectCycle",
        ),
        (
            pb.Device(name="NOT A NAME", spec=pb.DeviceSpec(protocol=pb.ProtocolConfig())),
            "metadata.name",
        ),
    ],
)
def test_missing_and_wrong_parts_are_named(message, words):
    with pytest.raises(ConfigError, match=words):
        device_from_v1beta1(message)


def test_a_strange_setting_is_named_with_device_property_and_key():
    message = device_to_v1beta1(DEVICE)
    message.spec.properties[1].visitors.configData.data["odd"].SetInParent()
    with pytest.raises(
        ConfigError, match=r"plant/kiln-7: property temperature: configData.odd: type ''"
    ):
        device_from_v1beta1(message)


def test_a_model_there_and_back():
    assert model_from_v1beta1(sent(model_to_v1beta1(MODEL))) == DeviceModel.model_validate(
        {
            "metadata": {"name": "kiln", "namespace": "plant"},
            "spec": {"properties": [prop.to_json() for prop in MODEL.spec.properties]},
        }
    )


def test_a_model_as_old_releases_send_it():
    message = pb.DeviceModel(name="kiln")
    message.spec.properties.add(name="a", type="boolean", accessMode="ReadWrite")
    message.spec.properties.add(name="b")
    first, second = model_from_v1beta1(message).spec.properties
    assert (first.type, first.access_mode) == (DataType.BOOLEAN, AccessMode.READ_WRITE)
    assert (second.type, second.access_mode) == (DataType.STRING, AccessMode.READ_ONLY)


def test_an_unknown_type_is_named():
    message = pb.DeviceModel(name="kiln", namespace="plant")
    message.spec.properties.add(name="a", type="COMPLEX")
    with pytest.raises(ConfigError, match=r"model plant/kiln: spec.properties.0.type"):
        model_from_v1beta1(message)


def test_a_model_text_that_cannot_travel():
    model = DeviceModel.model_construct(
        metadata=MODEL.metadata,
        spec=MODEL.spec.model_copy(
            update={"properties": [MODEL.spec.properties[0].model_copy(update={"unit": "\ud800"})]}
        ),
    )
    with pytest.raises(ConfigError, match="model plant/kiln cannot be sent"):
        model_to_v1beta1(model)


def test_keys():
    assert key_from_v1beta1("", "kiln-7") == Key("default", "kiln-7")
    assert key_from_v1beta1("plant", "kiln-7") == Key("plant", "kiln-7")


def test_one_bad_device_harms_no_other():
    good = device_to_v1beta1(DEVICE)
    model = model_to_v1beta1(MODEL)
    response = pb.MapperRegisterResponse(
        modelList=[model, model, pb.DeviceModel()], deviceList=[pb.Device(name="broken"), good]
    )
    inventory = inventory_from_v1beta1(sent(response))
    assert list(inventory.models) == [MODEL.key]
    assert list(inventory.devices) == [DEVICE.key]
    assert [str(problem) for problem in inventory.problems] == [
        "the name of the device or model is missing",
        "default/broken: spec is missing",
    ]
