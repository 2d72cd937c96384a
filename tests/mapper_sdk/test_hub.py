import pytest

from dmi.errors import OverloadedError
from dmi.readings import Reading
from dmi.resources import AccessMode, DataType, Key
from mapper_sdk.devices.gate import Gate
from mapper_sdk.devices.plan import Point, Unserved
from mapper_sdk.devices.scaling import Common
from mapper_sdk.fakes.clock import FakeClock
from mapper_sdk.hub import Hub


def point(name, *, filtered=False):
    made = Point(1, Key("default", "dev"), name, DataType.INT, AccessMode.READ_ONLY, Unserved())
    if filtered:
        made.gate = Gate(Common(on_change=True))
    return made


@pytest.fixture
def hub():
    return Hub(FakeClock())


def test_every_consumer_gets_every_batch(hub):
    one, two = [], []
    hub.add("one", one.append)
    hub.add("two", two.append)
    batch = [(point("a"), Reading(1, 0.0))]
    hub.publish(batch)
    assert one == two == [batch]
    assert hub.published == 1


def test_unchanged_values_are_withheld_where_that_was_asked(hub):
    got = []
    hub.add("one", got.append)
    always, changing = point("always"), point("changing", filtered=True)
    for value in (1, 1, 2):
        hub.publish([(changing, Reading(value, 0.0)), (always, Reading(value, 0.0))])
    names = [[p.name for p, _ in batch] for batch in got]
    assert names == [["changing", "always"], ["always"], ["changing", "always"]]
    assert (hub.published, hub.withheld) == (5, 1)


def test_a_batch_of_which_nothing_is_left_is_not_offered(hub):
    got = []
    hub.add("one", got.append)
    changing = point("changing", filtered=True)
    for _ in range(3):
        hub.publish([(changing, Reading(1, 0.0))])
    assert len(got) == 1


def test_a_consumer_that_refuses_does_not_affect_the_others(hub, caplog):
    got = []

    def refuse(batch):
        raise OverloadedError("full")

    hub.add("full", refuse)
    hub.add("one", got.append)
    for _ in range(3):
        hub.publish([(point("a"), Reading(1, 0.0))])
    assert len(got) == 3
    assert hub.refused == {"full": 3, "one": 0}
    assert caplog.text.count("full refuses readings") == 1
