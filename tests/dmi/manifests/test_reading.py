import json
from pathlib import Path

import pytest

from dmi.errors import ConfigError, NotFoundError
from dmi.manifests import (
    Fault,
    ManifestError,
    check_device,
    load_manifests,
    manifest_files,
    parse_manifests,
    read_manifests,
    survey_text,
)
from dmi.resources import Device, DeviceModel, DeviceStatus, Key

PLANT = Path(__file__).parents[3] / "examples" / "plant"

MODEL = """\
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: kiln}
spec:
  protocol: modbus
  properties:
    - {name: heat, type: FLOAT, accessMode: ReadWrite, minimum: "0", maximum: "900"}
"""
DEVICE = """\
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata:
  name: kiln-1
spec:
  deviceModelRef: {name: kiln}
  protocol: {protocolName: modbus, configData: {ip: 10.0.0.1}}
  properties:
    - name: heat
      collectCycle: 500
      visitors:
        configData: {register: InputRegister, offset: 1}
"""


def one_mistake(text):
    manifests, mistakes = parse_manifests(text, "f.yaml")
    assert manifests == []
    assert len(mistakes) == 1, [str(mistake) for mistake in mistakes]
    return mistakes[0]


def device_with(line):
    return f"{DEVICE}{line}\n"


def test_reads_devices_and_models_in_one_file():
    manifests, mistakes = parse_manifests(f"{MODEL}---\n{DEVICE}", "f.yaml")
    assert mistakes == []
    model, device = manifests
    assert isinstance(model.object, DeviceModel)
    assert isinstance(device.object, Device)
    assert (model.document, model.line) == (1, 1)
    assert (device.document, device.line) == (2, 9)
    assert device.key == Key("default", "kiln-1")
    assert device.object.spec.properties[0].collect_cycle == 500
    assert check_device(device.object, model.object) == []


def test_the_example_plant_has_no_mistakes():
    manifests = load_manifests(PLANT)
    assert {(manifest.kind, manifest.key.name) for manifest in manifests} == {
        (kind, name) for kind in ("Device", "DeviceModel") for name in ("boiler", "pump", "meter")
    }


@pytest.mark.parametrize(
    ("line", "path", "problem", "hint"),
    [
        ("      colectCycle: 1", "spec.properties[0].colectCycle", "unknown field", "collectCycle"),
        ("      collect_cycle: 1", "spec.properties[0].collect_cycle", "unknown field", "collectC"),
        ("      propertyName: x", "spec.properties[0].propertyName", "unknown field", "v1alpha2"),
        ("      zzz: x", "spec.properties[0].zzz", "unknown field", "known here: name, desired"),
        (
            "      desired: {value: 1}",
            "spec.properties[0].desired.value",
            "must be text, not the number 1",
            'put it in quotes: "1"',
        ),
        (
            "      desired: {value: on}",
            "spec.properties[0].desired.value",
            "must be text, not the word true",
            'put it in quotes: "true"',
        ),
        (
            "      desired: {metadata: {}}",
            "spec.properties[0].desired.value",
            "is missing",
            "",
        ),
        (
            '      reportCycle: "10"',
            "spec.properties[0].reportCycle",
            "must be a whole number, not the text '10'",
            "without quotes",
        ),
        (
            "      reportCycle: 1.5",
            "spec.properties[0].reportCycle",
            "must be a whole number, not the number 1.5",
            "",
        ),
        (
            "      reportCycle: -1",
            "spec.properties[0].reportCycle",
            "must be 0 or more, not -1",
            "",
        ),
        (
            '      reportToCloud: "true"',
            "spec.properties[0].reportToCloud",
            "must be true or false, not the text 'true'",
            "without quotes",
        ),
        (
            "      pushMethod: {mqtt: {qos: 3}}",
            "spec.properties[0].pushMethod.mqtt.qos",
            "must be 2 or less, not 3",
            "",
        ),
        (
            "      pushMethod: {dbMethod: {tdengine: {}}}",
            "spec.properties[0].pushMethod.dbMethod.tdengine",
            "unknown field",
            "did you mean 'TDEngine'?",
        ),
        ("  methods: {}", "spec.methods", "must be a list", ""),
        ("  methods: [5]", "spec.methods[0]", "must be a block of fields, not the number 5", ""),
        ("  nodeName: [a]", "spec.nodeName", "must be text, not a list", ""),
        (
            "  methods: [{name: m, propertyNames: [heet]}]",
            "spec.methods[0].propertyNames[0]",
            "the device has no property 'heet'",
            "did you mean 'heat'?",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_path_and_cure(line, path, problem, hint):
    mistake = one_mistake(device_with(line))
    assert mistake.path == path
    assert mistake.problem.startswith(problem)
    assert hint in mistake.hint
    assert (mistake.file, mistake.document) == ("f.yaml", 1)
    assert mistake.line == 13


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Kiln", "not a Kubernetes name"),
        ("kiln_1", "not a Kubernetes name"),
        ("-kiln", "not a Kubernetes name"),
        ("a..b", "not a Kubernetes name"),
        ("''", "must not be empty"),
        ("a" * 254, "longer than 253"),
    ],
)
def test_names_are_those_of_kubernetes(name, problem):
    assert problem in one_mistake(MODEL.replace("{name: kiln}", f"{{name: {name}}}")).problem


@pytest.mark.parametrize("namespace", ["a.b", "n" * 64, "Default"])
def test_namespaces_are_labels(namespace):
    text = MODEL.replace("{name: kiln}", f"{{name: kiln, namespace: {namespace}}}")
    assert one_mistake(text).path == "metadata.namespace"


@pytest.mark.parametrize(
    ("prop", "path", "problem"),
    [
        ("{name: heat, type: int}", "spec.properties[0].type", "must be one of INT"),
        ("{name: heat, accessMode: RW}", "spec.properties[0].accessMode", "must be one of ReadW"),
        ("{name: heat, type: INT, minimum: 1}", "spec.properties[0].minimum", "must be text"),
        ('{name: heat, type: INT, minimum: "x"}', "spec.properties[0].minimum", "'x' is not a num"),
        (
            '{name: heat, type: INT, minimum: "2", maximum: "1"}',
            "spec.properties[0].minimum",
            "minimum 2 is above maximum 1",
        ),
        ('{name: heat, type: STRING, maximum: "9"}', "spec.properties[0].maximum", "a STRING has"),
        ("{type: INT}", "spec.properties[0].name", "is missing"),
    ],
)
def test_mistakes_of_models(prop, path, problem):
    text = MODEL[: MODEL.index("    - {name")] + f"    - {prop}\n"
    mistake = one_mistake(text)
    assert mistake.path == path
    assert mistake.problem.startswith(problem)
    assert mistake.line == 7


def test_a_repeated_property_is_a_mistake_of_the_second():
    text = f"{MODEL}    - {{name: heat, type: FLOAT}}\n"
    mistake = one_mistake(text)
    assert (mistake.path, mistake.line) == ("spec.properties[1].name", 8)
    assert "already number 1" in mistake.problem


def test_all_mistakes_are_told_and_what_is_right_is_given():
    bad = DEVICE.replace("collectCycle: 500", "collectCycle: x\n      colour: red")
    text = f"{bad}---\n{MODEL}---\nkind: Pod\n---\na: [\n---\njust text\n"
    manifests, mistakes = parse_manifests(text, "f.yaml")
    assert [manifest.kind for manifest in manifests] == ["DeviceModel"]
    assert [(mistake.document, mistake.path) for mistake in mistakes] == [
        (1, "spec.properties[0].collectCycle"),
        (1, "spec.properties[0].colour"),
        (3, "kind"),
        (3, ""),
        (4, ""),
        (5, ""),
    ]
    lines = [mistake.line for mistake in mistakes]
    assert lines == sorted(lines)


def test_kind_and_version_must_be_known():
    _, mistakes = parse_manifests("{kind: Devise, apiVersion: v1}", "f")
    assert "did you mean 'Device'?" in str(mistakes[0])
    assert "apiVersion 'v1' is not devices.kubeedge.io/v1beta1 or" in str(mistakes[1])
    _, mistakes = parse_manifests("{apiVersion: devices.kubeedge.io/v1beta1}", "f")
    assert [mistake.problem for mistake in mistakes] == ["kind is missing"]
    _, mistakes = parse_manifests("{kind: [], apiVersion: {}}", "f")
    assert len(mistakes) == 2


def test_metadata_is_needed():
    text = "{apiVersion: devices.kubeedge.io/v1beta1, kind: Device}"
    assert str(one_mistake(text)) == "f.yaml: document 1, line 1, metadata: is missing"


def test_what_kubectl_prints_is_read():
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: devices.kubeedge.io/v1beta1
  kind: Device
  metadata:
    name: kiln-1
    uid: 0b0e
    resourceVersion: "12"
    generation: 3
    creationTimestamp: "2026-01-01T00:00:00Z"
    managedFields: [{manager: kubectl}]
    ownerReferences: []
    labels: null
  spec:
    properties: null
  status:
    reportToCloud: true
    reportCycle: 5000
- apiVersion: devices.kubeedge.io/v1beta1
  kind: DeviceStatus
  metadata: {name: kiln-1, creationTimestamp: null}
  spec: {}
  status:
    state: online
    twins: [{propertyName: heat, reported: {value: "7", metadata: {type: string}}}]
    extensions: {x: null}
"""
    manifests, mistakes = parse_manifests(text, "f")
    assert mistakes == []
    device, status = (manifest.object for manifest in manifests)
    assert isinstance(device, Device)
    assert device.metadata.resource_version == "12"
    assert device.spec.state_report.report_cycle == 5000
    assert isinstance(status, DeviceStatus)
    assert status.status.twins[0].reported.value == "7"
    assert manifests[1].line == 20


def test_nulls_in_settings_are_kept():
    text = DEVICE.replace("ip: 10.0.0.1", "ip: null, list: [1, null]")
    (manifest,) = load_manifests(text)
    assert manifest.object.spec.protocol.config_data == {"ip": None, "list": [1, None]}


def test_lists_tell_the_item():
    items = [json.loads(json.dumps({"apiVersion": "x", "kind": "Device"}))]
    _, mistakes = parse_manifests(json.dumps({"kind": "DeviceList", "items": items}), "f")
    assert mistakes[0].path == "items[0].apiVersion"
    assert one_mistake("{kind: List, items: 5}").path == "items"
    assert parse_manifests("{kind: List, items: null}", "f") == ([], [])


def test_the_second_of_one_name_is_refused():
    manifests, mistakes = parse_manifests(f"{MODEL}---\n{DEVICE}---\n{MODEL}", "f")
    assert [manifest.kind for manifest in manifests] == ["DeviceModel", "Device"]
    (mistake,) = mistakes
    assert mistake.problem == "DeviceModel default/kiln is already at line 1"
    assert mistake.document == 3


def test_a_fault_found_later_gets_its_place():
    (manifest,) = load_manifests(DEVICE, name="d.yaml")
    fault = Fault(("spec", "properties", 0, "visitors", "configData", "offset"), "too far", "less")
    assert str(manifest.mistake(fault)) == (
        "d.yaml: document 1, line 12, spec.properties[0].visitors.configData.offset: too far (less)"
    )


def test_load_raises_all_mistakes_at_once(tmp_path):
    (tmp_path / "one.yaml").write_text("kind: Device\n")
    (tmp_path / "two.json").write_text("{")
    with pytest.raises(ManifestError) as caught:
        load_manifests(tmp_path)
    assert isinstance(caught.value, ConfigError)
    assert [Path(mistake.file).name for mistake in caught.value.mistakes] == [
        "one.yaml",
        "two.json",
    ]
    assert len(str(caught.value).splitlines()) == 2


def test_directories_are_read_in_order_without_hidden_files(tmp_path):
    for name in ("b.yml", "a.yaml", "c.txt", ".hidden.yaml", "sub/d.json", "..data/e.yaml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    files = [str(file.relative_to(tmp_path)) for file in manifest_files(tmp_path)]
    assert files == ["a.yaml", "b.yml", "sub/d.json"]
    assert manifest_files(tmp_path / "c.txt") == [tmp_path / "c.txt"]


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        load_manifests(tmp_path / "nothing.yaml")


def test_unreadable_files_are_mistakes(tmp_path):
    manifests, (mistake,) = read_manifests(tmp_path / "nothing.yaml")
    assert manifests == []
    assert "cannot be read" in mistake.problem
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\n")
    _, (mistake,) = read_manifests(binary)
    assert (mistake.line, mistake.problem) == (2, "is not UTF-8 text")
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    _, (mistake,) = read_manifests(huge)
    assert "longer than 16 MiB" in mistake.problem


def test_mistakes_are_plain_json():
    mistake = one_mistake("{kind: Device, apiVersion: 1}")
    assert json.loads(json.dumps(mistake.to_json())) == {
        "file": "f.yaml",
        "document": 1,
        "line": 1,
        "path": "apiVersion",
        "problem": mistake.problem,
        "hint": "write devices.kubeedge.io/v1beta1",
    }


def test_lone_surrogates_are_refused_politely():
    text = json.dumps(
        {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "x": "\ud800"}
    )
    _, mistakes = parse_manifests(text, "f")
    assert mistakes


def test_what_is_right_of_a_mistaken_object_is_kept_for_more_checks():
    text = MODEL.replace("kiln", "Kiln", 1) + "  protocl: modbus\n"
    survey = survey_text(text, "kiln.yaml")
    assert not survey.manifests
    assert [mistake.path for mistake in survey.mistakes] == ["metadata.name", "spec.protocl"]
    (mended,) = survey.mended
    assert isinstance(mended.object, DeviceModel)
    assert mended.object.spec.properties
    assert not mended.doubtful


def test_a_mended_object_knows_its_doubtful_properties():
    survey = survey_text(MODEL + "    - {name: glow, type: FLOT}\n", "kiln.yaml")
    (mended,) = survey.mended
    assert mended.doubtful == {"glow"}


def test_a_wrong_type_is_one_mistake_and_does_not_spoil_the_bounds():
    text = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: kiln}
spec:
  protocol: virtual
  properties:
  - {name: heat, type: DUOBLE, minimum: "1", maximum: "9"}
  - {name: fan, type: INT, minimum: "9", maximum: "1"}
  - {name: fan, type: IMT, minimum: "1"}
"""
    assert [mistake.path for mistake in survey_text(text, "kiln.yaml").mistakes] == [
        "spec.properties[0].type",
        "spec.properties[1].minimum",
        "spec.properties[2].type",
        "spec.properties[2].name",
    ]


def test_nothing_is_mended_where_nothing_sensible_is_left():
    survey = survey_text("apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nspec: 7\n", "x")
    assert not survey.manifests
    assert survey.mistakes
    assert all(mended.object.spec == type(mended.object.spec)() for mended in survey.mended)
