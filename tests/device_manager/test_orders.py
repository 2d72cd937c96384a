"""Models before devices, devices before models, edits and deletes between: one end."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_manager.node import Node
from dmi.reports import OutcomeStatus
from dmi.resources import Key
from tests.device_manager.plants import device, model

MODELS = [
    None,
    model("m", speed="INT", label="STRING"),
    model("m", speed={"type": "INT", "maximum": "5"}, label="STRING", extra="INT"),
    model("m", speed="BOOLEAN"),
]
DEVICES = [
    None,
    device("d", of="m"),
    device("d", of="m", speed="3", label="on"),
    device("d", of="m", speed="9", ghost="1"),
    device("d", of="n", speed="true"),
    device("d", of="m", protocol="other", extra="2"),
]
OTHER_MODELS = [None, model("n", speed="BOOLEAN"), model("n", speed="INT")]

HISTORY = {
    ("DeviceModel", Key("default", "m")): MODELS,
    ("Device", Key("default", "d")): DEVICES,
    ("DeviceModel", Key("default", "n")): OTHER_MODELS,
}


@st.composite
def histories(draw):
    """Some versions of each object, in an order that keeps each object's own order."""
    turns = []
    queues = {}
    for item, versions in HISTORY.items():
        queues[item] = draw(st.lists(st.sampled_from(range(len(versions))), min_size=1, max_size=4))
        turns += [item] * len(queues[item])
    order = draw(st.permutations(turns))
    return [(item, queues[item].pop(0)) for item in order]


async def replay(path, history):
    node = await Node.open(path)
    try:
        for (kind, key), number in history:
            wanted = HISTORY[kind, key][number]
            if wanted is not None:
                await node.apply(wanted, origin="api")
            elif node.find(kind, key) is not None:
                await node.delete(kind, key, "api")
        live = snapshot(node)
    finally:
        await node.close()
    node = await Node.open(path)
    stored = snapshot(node)
    await node.close()
    assert stored == live
    return live


def snapshot(node):
    """All that matters. A wish of a property that no model declares sleeps, and is left out."""
    wishes = {
        (key, name): (twin.desired.value, twin.desired.status is OutcomeStatus.REJECTED)
        for key in node.devices
        for name, twin in node.twins(key).items()
        if twin.desired is not None and node.property_type(key, name) is not None
    }
    twins = {(key, name) for key in node.devices for name in node.twins(key)}
    return dict(node.models), dict(node.devices), dict(node.problems), twins, wishes


def last_of(history):
    return list(dict(history).items())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=histories(), data=st.data())
def test_every_order_ends_in_the_same_state(tmp_path_factory, history, data):
    folder = tmp_path_factory.mktemp("orders")
    final = data.draw(st.permutations(last_of(history)))
    end = asyncio.run(replay(folder / "a.db", history))
    direct = asyncio.run(replay(folder / "b.db", final))
    assert end == direct
