import itertools

import pytest

from dmi.reports import Outcome, OutcomeStatus
from dmi.resources import Key
from mapper_sdk.devices.table import DeviceTable


class RecordingFleet:
    def __init__(self):
        self.calls = []
        self.serving = {}
        self.refused = {}
        self.wishes = []

    def serve(self, plan):
        self.calls.append(("serve", plan.key.name))
        self.serving[plan.key.name] = plan
        self.refused.pop(plan.key.name, None)

    def drop(self, key):
        self.calls.append(("drop", key.name))
        self.serving.pop(key.name, None)
        self.refused.pop(key.name, None)

    def refuse(self, key, state, reason, message):
        self.calls.append(("refuse", key.name))
        self.serving.pop(key.name, None)
        self.refused[key.name] = (state, reason, message)

    def wish(self, desired):
        self.wishes.append((desired.property, desired.value, desired.version, desired.settled))


@pytest.fixture
def fleet():
    return RecordingFleet()


@pytest.fixture
def table(make, fleet):
    return DeviceTable(make.driver({}), fleet)


def test_every_order_ends_in_the_same_state(make):
    steps = {
        "model": lambda t: t.put_model(make.model(t={})),
        "device": lambda t: t.put_device(make.device(t={"cell": 1})),
        "wish": lambda t: t.put_desired(make.wish("t", 5.0)),
    }
    for order in itertools.permutations(steps):
        fleet = RecordingFleet()
        table = DeviceTable(make.driver({}), fleet)
        for step in order:
            steps[step](table)
        assert list(fleet.serving) == ["dev"], order
        assert fleet.wishes == [("t", 5.0, 1, False)], order
        assert fleet.refused == {}, order


def test_a_device_waits_for_its_model(make, table, fleet):
    table.put_device(make.device(t={"cell": 1}))
    assert fleet.refused["dev"] == ("unknown", "no_model", "there is no model default/model")
    table.put_model(make.model(t={}))
    assert "dev" in fleet.serving
    table.remove_model(Key("default", "model"))
    assert fleet.refused["dev"][1] == "no_model"
    assert fleet.serving == {}


def test_a_changed_model_rebuilds_its_devices_only(make, table, fleet):
    table.put_model(make.model(t={}))
    table.put_model(make.model("other", t={}))
    table.put_device(make.device(t={"cell": 1}))
    table.put_device(make.device("two", "other", t={"cell": 1}))
    fleet.calls.clear()
    table.put_model(make.model(t={"unit": "K"}))
    assert fleet.calls == [("serve", "dev")]
    assert fleet.serving["dev"].points["t"].unit == "K"


def test_the_same_again_changes_nothing(make, table, fleet):
    for _ in range(2):
        table.put_model(make.model(t={}))
        table.put_device(make.device(t={"cell": 1}))
    assert fleet.calls == [("serve", "dev")]


def test_a_device_that_cannot_be_served_is_unhealthy_and_says_where(make, table, fleet):
    table.put_model(make.model(t={}))
    table.put_device(make.device(t={"cell": 1}))
    table.put_device(make.device(t={"cell": 1}, address=5))
    state, reason, message = fleet.refused["dev"]
    assert (state, reason) == ("unhealthy", "config")
    assert "spec.protocol.configData.address" in message
    table.put_device(make.device(t={"cell": 1}))
    assert "dev" in fleet.serving


def test_devices_of_other_protocols_are_not_ours(make, table, fleet):
    table.put_model(make.model(t={}))
    table.put_device(make.device(t={"cell": 1}, protocol="other"))
    assert fleet.calls == []
    table.put_device(make.device(t={"cell": 1}))
    table.put_device(make.device(t={"cell": 1}, protocol="other"))
    assert fleet.calls == [("serve", "dev"), ("drop", "dev")]


def test_the_protocol_name_can_be_another_one(make, fleet):
    table = DeviceTable(make.driver({}), fleet, "plant-bus")
    table.put_model(make.model(t={}))
    table.put_device(make.device(t={"cell": 1}, protocol="plant-bus"))
    assert "dev" in fleet.serving


def test_keep_only_forgets_everything_else(make, table, fleet):
    table.put_model(make.model(t={}))
    for name in ("one", "two"):
        table.put_device(make.device(name, t={"cell": 1}))
    table.put_desired(make.wish("t", 1.0, device="gone"))
    table.keep_only({Key("default", "model")}, {Key("default", "two")})
    assert list(fleet.serving) == ["two"]
    table.put_device(make.device("gone", t={"cell": 1}))
    assert fleet.wishes == []
    table.keep_only(set(), {Key("default", "two")})
    assert fleet.refused["two"][1] == "no_model"


def test_removing_what_is_unknown_is_ignored(table, fleet):
    table.remove_device(Key("default", "dev"))
    table.remove_model(Key("default", "model"))
    assert fleet.calls == []


def test_wishes_go_with_their_device(make, table, fleet):
    table.put_desired(make.wish("t", 1.0))
    table.put_model(make.model(t={}))
    table.put_device(make.device(t={"cell": 1}))
    table.remove_device(Key("default", "dev"))
    fleet.wishes.clear()
    table.put_device(make.device(t={"cell": 1}))
    assert fleet.wishes == []
    assert table.devices == {Key("default", "dev")}


def test_an_older_wish_is_never_passed_on(make, table, fleet):
    table.put_desired(make.wish("t", 2.0, version=2))
    table.put_desired(make.wish("t", 1.0, version=1))
    table.put_model(make.model(t={}))
    table.put_device(make.device(t={"cell": 1}))
    assert fleet.wishes == [("t", 2.0, 2, False)]


def test_a_wish_that_was_written_comes_back_as_settled(make, table, fleet):
    table.put_model(make.model(t={}))
    table.put_device(make.device(t={"cell": 1}))
    table.put_desired(make.wish("t", 2.0, version=3))
    for version, status in ((3, OutcomeStatus.PENDING), (2, OutcomeStatus.FAILED)):
        table.note_outcome(Outcome(Key("default", "dev"), "t", version, status, 0.0))
    table.remove_model(Key("default", "model"))
    table.put_model(make.model(t={}))
    table.note_outcome(Outcome(Key("default", "dev"), "t", 3, OutcomeStatus.WRITTEN, 0.0))
    table.note_outcome(Outcome(Key("default", "dev"), "x", 3, OutcomeStatus.WRITTEN, 0.0))
    table.remove_model(Key("default", "model"))
    table.put_model(make.model(t={}))
    assert [settled for *_, settled in fleet.wishes] == [False, False, True]
