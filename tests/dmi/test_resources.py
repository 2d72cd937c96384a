import pytest
from pydantic import ValidationError

from dmi.manifests import Fault, path_text
from dmi.resources import Device, DeviceModel, Key, merge_defaults


def test_a_cluster_may_send_more_than_we_know():
    device = Device.model_validate(
        {"metadata": {"name": "a", "managedFields": []}, "spec": {"future": 1}}
    )
    assert device.key == Key("default", "a")
    assert str(device.key) == "default/a"


def test_objects_never_change():
    device = Device.model_validate({"metadata": {"name": "a"}})
    with pytest.raises(ValidationError):
        device.kind = "Other"


def test_json_has_kubernetes_names_and_only_what_was_set():
    given = {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": "a", "namespace": "ns"},
        "spec": {
            "deviceModelRef": {"name": "m"},
            "properties": [
                {
                    "name": "p",
                    "collectCycle": 5,
                    "pushMethod": {
                        "otel": {"endpointURL": "http://x"},
                        "dbMethod": {"TDEngine": {"TDEngineClientConfig": {"addr": "y"}}},
                    },
                }
            ],
        },
    }
    assert Device.model_validate(given).to_json() == given
    assert Device.model_validate(given).model_key == Key("ns", "m")


def test_state_reports_of_old_devices_lived_in_the_status():
    old = {"metadata": {"name": "a"}, "spec": {}, "status": {"reportToCloud": True}}
    assert Device.model_validate(old).spec.state_report.report_to_cloud
    both = {**old, "spec": {"stateReport": {"reportToCloud": False}}}
    assert not Device.model_validate(both).spec.state_report.report_to_cloud
    assert Device.model_validate({"metadata": {"name": "a"}}).spec.state_report is None


def test_models_give_defaults_and_devices_win():
    model = DeviceModel.model_validate(
        {
            "metadata": {"name": "m"},
            "spec": {
                "protocolConfigData": {"ip": "model", "port": 1},
                "properties": [
                    {
                        "name": "p",
                        "visitors": {"protocolName": "x", "configData": {"a": 1, "b": 2}},
                    },
                    {"name": "q"},
                ],
            },
        }
    )
    device = Device.model_validate(
        {
            "metadata": {"name": "d"},
            "spec": {
                "protocol": {"protocolName": "own", "configData": {"ip": "device"}},
                "properties": [
                    {"name": "p", "visitors": {"protocolName": "y", "configData": {"b": 3}}},
                    {"name": "q", "visitors": {"protocolName": "y"}},
                ],
            },
        }
    )
    merged = merge_defaults(device, model).spec
    assert merged.protocol.config_data == {"ip": "device", "port": 1}
    assert merged.protocol.protocol_name == "own"
    p, q = merged.properties
    assert p.visitors.config_data == {"a": 1, "b": 3}
    assert (p.visitors.protocol_name, q.visitors.protocol_name) == ("x", "y")
    plain = DeviceModel.model_validate({"metadata": {"name": "m"}})
    assert merge_defaults(device, plain) == device


@pytest.mark.parametrize("name", ["a", "a-b", "a.b", "0", "a" * 253])
def test_good_names(name):
    assert Device.model_validate({"metadata": {"name": name}}).metadata.name == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "a.", ".a", "a..b", "-a", "a\n", "a" * 254])
def test_bad_names(name):
    with pytest.raises(ValidationError):
        Device.model_validate({"metadata": {"name": name}})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("spec",), "spec"),
        (("spec", "properties", 0, "name"), "spec.properties[0].name"),
        ((0, "a"), "[0].a"),
        (("metadata", "labels", "a.b/c"), 'metadata.labels["a.b/c"]'),
        (("a", ""), 'a[""]'),
    ],
)
def test_paths_as_people_write_them(path, text):
    assert path_text(path) == text


def test_faults_as_text():
    assert str(Fault((), "wrong")) == "wrong"
    assert str(Fault(("a",), "wrong", "do this")) == "a: wrong (do this)"
