import itertools

import pytest

from dmi.errors import ConfigError
from dmi.resources import AccessMode, DataType, Device, DeviceModel, Key
from mapper_sdk.devices.planning import adopt, build_plan, diff_plans


@pytest.fixture
def build(make):
    handles = itertools.count(1)
    driver = make.driver({})
    return lambda device, model: build_plan(device, model, driver, handles)


def test_a_plan_holds_every_property_resolved(make, build):
    model = make.model(
        temp={"type": "FLOAT", "minimum": "0", "maximum": "1.5", "unit": "K"},
        mode={"type": "INT", "accessMode": "ReadOnly"},
    )
    device = make.device(
        temp={"cell": 1, "scale": 0.1, "cycle": 250}, mode={"cell": 2, "cycle": 0}, bus="line"
    )
    plan = build(device, model)
    temp, mode = plan.points.values()
    assert (temp.visit.cell, temp.minimum, temp.maximum, temp.unit) == (1, 0, 1.5, "K")
    assert (temp.common.scale, temp.collect_ms, temp.access) == (0.1, 250, AccessMode.READ_WRITE)
    assert (mode.type, mode.collect_ms, mode.access) == (DataType.INT, 1000, AccessMode.READ_ONLY)
    assert (plan.key, plan.bus_key, plan.problems) == (Key("default", "dev"), "line", {})
    assert temp.convert(5, 1.0).value == 0.5
    assert len({temp.handle, mode.handle}) == 2


def test_defaults_of_the_model_are_merged_in(make, build):
    model = make.model(t={"visitors": {"configData": {"cell": 4, "scale": 2}}})
    plan = build(make.device(t={"scale": 3}), model)
    assert plan.points["t"].visit.cell == 4
    assert plan.points["t"].common.scale == 3


def test_a_fault_of_the_whole_device_names_it_and_every_path(make, build):
    device = make.device(t={"cell": 1})
    data = device.to_json()
    data["spec"]["protocol"]["configData"] = {"address": 5, "speed": 1}
    with pytest.raises(ConfigError) as caught:
        build(Device.model_validate(data), make.model(t={}))
    text = str(caught.value)
    assert text.startswith("default/dev: spec.protocol.configData.address: ")
    assert "spec.protocol.configData.speed: unknown field" in text


@pytest.mark.parametrize(
    ("settings", "declared", "problem"),
    [
        ({}, {}, "spec.properties[0].visitors.configData.cell: is missing"),
        ({"cell": 1, "scal": 1}, {}, "spec.properties[0].visitors.configData.scal: unknown field"),
        ({"cell": 1, "scale": "x"}, {}, "spec.properties[0].visitors.configData.scale: "),
        ({"cell": 1, "scale": 0}, {}, "configData.scale: must not be 0"),
        ({"cell": 1, "scale": 2}, {"type": "STRING"}, "scale: means nothing for STRING"),
        ({"cell": 1}, {"minimum": "low"}, "range of 't' in the model"),
        ({"cell": 1}, None, "spec.properties[0].name: the model has no property 't'"),
    ],
)
def test_a_faulty_property_harms_no_other(make, build, settings, declared, problem):
    model = make.model(**({"t": declared} if declared is not None else {}), sound={})
    plan = build(make.device(t=settings, sound={"cell": 2}), model)
    assert problem in plan.problems["t"]
    assert plan.points["t"].problem == plan.problems["t"]
    assert [point.name for point in plan.faulty] == ["t"]
    assert [point.name for point in plan.sound] == ["sound"]


def test_a_property_that_is_there_twice_is_served_once(make, build):
    data = make.device(t={"cell": 1}).to_json()
    data["spec"]["properties"].append(data["spec"]["properties"][0])
    plan = build(Device.model_validate(data), make.model(t={}))
    assert plan.points["t"].problem == ""
    assert "twice" in plan.problems["t[1]"]


@pytest.fixture
def change(make, build):
    """Says what differs between two versions of a device."""

    def between(old, new, old_model=None, new_model=None):
        names = {name: {} for name in ("a", "b", "c")}
        model = make.model(**names)
        first = build(make.device(**old), old_model or model)
        second = build(make.device(**new), new_model or model)
        return first, second, diff_plans(first, second)

    return between


def test_nothing_changed_is_no_change(change):
    _, _, found = change({"a": {"cell": 1}}, {"a": {"cell": 1}})
    assert not found


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({"a": {"cell": 1, "cycle": 50}}, {"retimed": ["a"]}),
        ({"a": {"cell": 1, "scale": 2}}, {"retuned": ["a"]}),
        ({"a": {"cell": 2}}, {"redirected": ["a"]}),
        ({"a": {"cell": 1}, "b": {"cell": 2}}, {"added": ["b"]}),
        ({}, {"removed": ["a"]}),
    ],
)
def test_a_change_touches_only_what_it_must(change, new, expected):
    _, _, found = change({"a": {"cell": 1}}, new)
    kinds = {
        kind: [getattr(point, "name", point) for point in getattr(found, kind)]
        for kind in ("added", "removed", "redirected", "retimed", "retuned")
    }
    assert {kind: names for kind, names in kinds.items() if names} == expected
    assert bool(found)
    assert not found.reconnect
    assert found.touches_reading == (expected.keys() != {"retuned"})


def test_another_address_or_bus_reconnects(change):
    prop = {"a": {"cell": 1}}
    assert change(prop, {**prop, "address": "b"})[2].reconnect
    assert change(prop, {**prop, "bus": "b"})[2].reconnect


def test_adopting_keeps_the_points_that_stay(change):
    old, new, found = change(
        {"a": {"cell": 1}, "b": {"cell": 2}, "c": {"cell": 3}},
        {"a": {"cell": 1, "scale": 2}, "b": {"cell": 9, "cycle": 10}},
    )
    a, b = old.points["a"], old.points["b"]
    a.latest = b.latest = "something"
    handles = (a.handle, b.handle)
    adopt(old, new, found)
    assert old.points == {"a": a, "b": b}
    assert (a.handle, b.handle) == handles
    assert a.convert(1, 0.0).value == 2
    assert (a.latest, b.latest) == ("something", None)
    assert (b.visit.cell, b.collect_ms) == (9, 10)
    assert not diff_plans(old, new)


def test_a_changed_description_is_a_change(make, build):
    data = make.device(a={"cell": 1}).to_json()
    model = make.model(a={})
    plan = build(Device.model_validate(data), model)
    data["spec"]["methods"] = [{"name": "set", "propertyNames": ["a"]}]
    renamed = build(Device.model_validate(data), model)
    found = diff_plans(plan, renamed)
    assert found.described
    assert not found.touches_reading
    adopt(plan, renamed, found)
    assert [method.name for method in plan.methods] == ["set"]


def test_a_new_type_in_the_model_reads_the_property_anew(make, build):
    device = make.device(a={"cell": 1})
    old = build(device, make.model(a={"type": "INT"}))
    new = build(device, make.model(a={"type": "STRING"}))
    assert [point.name for point in diff_plans(old, new).redirected] == ["a"]
    assert isinstance(make.model(), DeviceModel)
