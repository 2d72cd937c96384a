import asyncio
from contextlib import asynccontextmanager

import pytest

from device_manager.node import Node
from device_manager.reconciling.operations import Verb
from device_manager.reconciling.reconciler import Inventory, Reconciler
from device_manager.records import MapperRecord
from dmi.errors import RefusedError, UnavailableError
from dmi.resources import Key
from tests.device_manager.plants import MODEL, PUMP, device, model


class EagerClock:
    """Every sleep ends at once."""

    def __init__(self):
        self.slept = []

    def time(self):
        return 1000.0

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)


class PickyMapper:
    """A v1beta1 mapper with the manners of KubeEdge's own: it insists on the right order."""

    def __init__(self):
        self.models = {}
        self.devices = {}
        self.calls = []
        self.mistakes = []
        self.refuse = {}  # (verb, name) -> how many times
        self.away = False
        self.hang = None

    async def __call__(self, operation):
        if self.away:
            raise UnavailableError("nobody listens")
        if self.hang is not None:
            await self.hang.wait()
        verb, key, subject = operation.verb, operation.key, operation.subject
        self.calls.append((verb.value, key.name))
        if self.refuse.get((verb, key.name), 0):
            self.refuse[verb, key.name] -= 1
            raise RefusedError("not now")
        match verb:
            case Verb.CREATE_MODEL | Verb.UPDATE_MODEL:
                self.expect((key in self.models) == (verb is Verb.UPDATE_MODEL), operation)
                self.models[key] = subject
            case Verb.REMOVE_MODEL:
                used = [d for d in self.devices.values() if d.model_key == key]
                self.expect(key in self.models and not used, operation)
                self.models.pop(key, None)
            case Verb.REGISTER_DEVICE | Verb.UPDATE_DEVICE:
                self.expect((key in self.devices) == (verb is Verb.UPDATE_DEVICE), operation)
                declared = self.models.get(subject.model_key)
                names = {p.name for p in declared.spec.properties} if declared else set()
                self.expect(declared is not None, operation)
                self.expect({p.name for p in subject.spec.properties} <= names, operation)
                self.devices[key] = subject
            case Verb.REMOVE_DEVICE:
                self.expect(key in self.devices, operation)
                self.devices.pop(key, None)

    def expect(self, right, operation):
        if not right:
            self.mistakes.append(str(operation))

    def desired(self, key=PUMP):
        return {p.name: p.desired.value for p in self.devices[key].spec.properties}


class Switch:
    """Routes calls to mappers by address, as sockets do."""

    def __init__(self, **mappers):
        self.mappers = mappers

    async def call(self, mapper, operation):
        await self.mappers[mapper.address](operation)


def record(protocol="modbus", address="one"):
    return MapperRecord(f"{protocol}-mapper", protocol, "", "1", "v1beta1", address)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a mapper's state has no event
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running(node, executor, **options):
    reconciler = Reconciler(
        node, executor, options.pop("clock", None) or EagerClock(), chance=lambda: 0.5, **options
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reconciler.run())
        await asyncio.sleep(0)
        yield reconciler
        task.cancel()


async def settled(reconciler, protocol="modbus"):
    await until(lambda: reconciler.pending(protocol) == 0)


@pytest.fixture
def mapper():
    return PickyMapper()


async def test_without_data_everything_is_sent_models_first(node, mapper):
    await node.apply(
        device(), model(), model("unused"), model("foreign", protocol="ble"), origin="api"
    )
    async with running(node, Switch(one=mapper)) as reconciler:
        inventory = await reconciler.register(record(), with_data=False)
        await settled(reconciler)
    assert (inventory.models, inventory.devices) == ([], [])
    assert sorted(mapper.calls[:2]) == [
        ("CreateDeviceModel", "pumps"),
        ("CreateDeviceModel", "unused"),
    ]
    assert mapper.calls[2:] == [("RegisterDevice", "pump")]
    assert mapper.mistakes == []


async def test_with_data_nothing_is_sent_until_something_changes(node, mapper):
    await node.apply(device(speed="5", label=None), model(), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        inventory = await reconciler.register(record(), with_data=True)
        mapper.models = {m.key: m for m in inventory.models}
        mapper.devices = {d.key: d for d in inventory.devices}
        await settled(reconciler)
        assert mapper.calls == []
        assert mapper.desired() == {"speed": "5", "label": ""}
        await node.apply(device(speed="5", label=None), origin="api")
        await node.set_desired(PUMP, "speed", 6)
        await until(lambda: mapper.calls)
        await settled(reconciler)
    assert mapper.calls == [("UpdateDevice", "pump")]
    assert mapper.desired() == {"speed": "6", "label": ""}


async def test_a_refused_wish_and_an_undeclared_property_never_reach_the_mapper(node, mapper):
    await node.apply(device(speed="fast", ghost="1"), model(), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await settled(reconciler)
    assert mapper.desired() == {"speed": ""}
    assert mapper.mistakes == []


async def test_model_defaults_are_merged_and_a_changed_default_updates_the_devices(node, mapper):
    def of(port):
        return model().model_copy(
            update={
                "spec": model().spec.model_copy(update={"protocol_config_data": {"port": port}})
            }
        )

    await node.apply(of(1), device(config={"host": "a"}), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await settled(reconciler)
        mapper.calls.clear()
        await node.apply(of(2), origin="api")
        await until(lambda: len(mapper.calls) >= 2)
        await settled(reconciler)
    assert mapper.calls == [("UpdateDeviceModel", "pumps"), ("UpdateDevice", "pump")]
    assert mapper.devices[PUMP].spec.protocol.config_data == {"port": 2, "host": "a"}


async def test_removals_take_devices_before_models_and_precede_additions(node, mapper):
    await node.apply(device(), model(), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await settled(reconciler)
        mapper.calls.clear()
        mapper.hang = asyncio.Event()
        await node.apply(device("first", of="others"), origin="api")
        await node.apply(model("others"), origin="api")
        await node.delete("DeviceModel", MODEL, "api")
        await node.delete("Device", PUMP, "api")
        mapper.hang.set()
        await until(lambda: len(mapper.calls) >= 4)
        await settled(reconciler)
    assert mapper.mistakes == []
    calls = [verb for verb, _ in mapper.calls]
    assert calls.index("RemoveDevice") < calls.index("RemoveDeviceModel")
    assert calls.index("RemoveDeviceModel") < calls.index("RegisterDevice")
    assert set(mapper.devices) == {Key("default", "first")}
    assert set(mapper.models) == {Key("default", "others")}


async def test_a_refused_call_is_retried_until_it_has_converged(node, mapper, caplog):
    mapper.refuse = {
        (Verb.CREATE_MODEL, "pumps"): 3,
        (Verb.REGISTER_DEVICE, "pump"): 2,
        (Verb.REMOVE_DEVICE, "pump"): 2,
        (Verb.REMOVE_MODEL, "pumps"): 1,
    }
    await node.apply(device(), model(), origin="api")
    clock = EagerClock()
    async with running(node, Switch(one=mapper), clock=clock) as reconciler:
        await reconciler.register(record(), with_data=False)
        await settled(reconciler)
        assert set(mapper.devices) == {PUMP}
        await node.delete("Device", PUMP, "api")
        await node.delete("DeviceModel", MODEL, "api")
        await until(lambda: not mapper.models)
        await settled(reconciler)
        assert reconciler.errors("modbus") == {}
    assert (mapper.devices, mapper.mistakes) == ({}, [])
    assert clock.slept[:3] == [0.2, 0.4, 0.8]
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 4


async def test_what_the_mapper_refuses_is_told_and_harms_no_other_device(node, mapper):
    mapper.refuse = {(Verb.REGISTER_DEVICE, "bad"): 10**9}
    await node.apply(model(), device("bad"), device("good"), origin="api")

    class Slow(EagerClock):
        async def sleep(self, seconds):
            await asyncio.Event().wait()

    async with running(node, Switch(one=mapper), clock=Slow()) as reconciler:
        await reconciler.register(record(), with_data=False)
        await until(lambda: mapper.devices and reconciler.errors("modbus"))
        assert reconciler.errors("modbus") == {"Device default/bad": "RegisterDevice: not now"}
        assert reconciler.pending("modbus") == 1
        assert set(mapper.devices) == {Key("default", "good")}


async def test_a_hung_mapper_delays_nobody_else_and_is_cut_at_the_deadline(node):
    hung, well = PickyMapper(), PickyMapper()
    hung.hang = asyncio.Event()
    await node.apply(
        model(),
        device(),
        model("tags", protocol="ble"),
        device("tag", of="tags", protocol="ble"),
        origin="api",
    )
    async with running(node, Switch(one=hung, two=well), deadline=0.05) as reconciler:
        await reconciler.register(record(), with_data=False)
        await reconciler.register(record("ble", "two"), with_data=False)
        await settled(reconciler, "ble")
        assert set(well.devices) == {Key("default", "tag")}
        assert hung.devices == {}
        await until(lambda: "no answer within 0.05 s" in str(reconciler.errors("modbus")))
        hung.hang.set()
        await settled(reconciler)
    assert set(hung.devices) == {PUMP}


async def test_an_absent_mapper_is_marked_away_and_served_when_it_is_back(node, mapper):
    mapper.away = True
    await node.apply(model(), device(), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await until(lambda: not node.mappers["modbus-mapper/"].alive)
        mapper.away = False
        await settled(reconciler)
        await until(lambda: node.mappers["modbus-mapper/"].alive)
    assert set(mapper.devices) == {PUMP}


async def test_what_this_contract_cannot_carry_is_not_wished(node, mapper):
    await node.apply(model(raw="BYTES"), device(raw=None), origin="api")
    await node.set_desired(PUMP, "raw", b"\xff")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await settled(reconciler)
    assert mapper.desired() == {"raw": ""}


async def test_the_last_registration_of_a_protocol_wins(node, mapper):
    second = PickyMapper()
    await node.apply(model(), device(), origin="api")
    async with running(node, Switch(one=mapper, two=second)) as reconciler:
        mapper.hang = asyncio.Event()
        await reconciler.register(record(), with_data=False)
        await reconciler.register(record(address="two"), with_data=False)
        await settled(reconciler)
        mapper.hang.set()
        await node.set_desired(PUMP, "speed", 3)
        await until(lambda: second.devices and second.desired()["speed"] == "3")
    assert mapper.devices == {}


async def test_a_restarted_manager_sends_only_what_changed_meanwhile(tmp_path, mapper):
    node = await Node.open(tmp_path / "node.db")
    await node.apply(model(), device(), device("other"), device("gone"), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await settled(reconciler)
    mapper.calls.clear()
    await node.delete("Device", Key("default", "gone"), "api")
    await node.set_desired(PUMP, "speed", 4)
    await node.close()
    node = await Node.open(tmp_path / "node.db")
    async with running(node, Switch(one=mapper)) as reconciler:
        await until(lambda: len(mapper.calls) == 2)
        await settled(reconciler)
    await node.close()
    assert mapper.calls == [("RemoveDevice", "gone"), ("UpdateDevice", "pump")]


async def test_gives_way_to_mappers_of_v1_and_comes_back(node, mapper):
    await node.apply(model(), device(), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await until(lambda: PUMP in mapper.devices)
        reconciler.give_way({"modbus"})
        await until(lambda: not mapper.models)
        await node.apply(device("two"), origin="api")
        await settled(reconciler)
        assert not mapper.devices
        inventory = await reconciler.register(record(), with_data=True)
        assert inventory == Inventory()
        reconciler.give_way(frozenset())
        await until(lambda: {key.name for key in mapper.devices} == {"pump", "two"})
        assert mapper.mistakes == []


async def test_asks_nothing_of_an_absent_mapper_whose_devices_another_serves(node, mapper):
    await node.apply(model(), device(), origin="api")
    clock = EagerClock()
    async with running(node, Switch(one=mapper), clock=clock) as reconciler:
        await reconciler.register(record(), with_data=True)
        mapper.away = True
        reconciler.give_way({"modbus"})
        await settled(reconciler)
        assert node.actual.held("modbus") == {}
        await until(lambda: not node.mappers["modbus-mapper/"].alive)
        mapper.away = False
        await node.apply(device(name="other"), origin="api")
        await settled(reconciler)
        assert (mapper.calls, clock.slept) == ([], [])


async def test_a_flood_of_changes_makes_few_calls(node, mapper):
    await node.apply(model(), device(), origin="api")
    async with running(node, Switch(one=mapper)) as reconciler:
        await reconciler.register(record(), with_data=False)
        await settled(reconciler)
        mapper.calls.clear()
        mapper.hang = asyncio.Event()
        for value in range(100):
            await node.set_desired(PUMP, "speed", value)
        mapper.hang.set()
        await until(lambda: mapper.desired()["speed"] == "99")
        await settled(reconciler)
    assert len(mapper.calls) <= 3


async def test_a_bug_in_the_executor_is_not_hidden(node):
    class Broken:
        async def call(self, mapper, operation):
            raise ZeroDivisionError

    await node.apply(model(), origin="api")
    reconciler = Reconciler(node, Broken(), EagerClock())
    await reconciler.register(record(), with_data=False)
    with pytest.raises(ExceptionGroup) as caught:
        await reconciler.run()
    assert caught.group_contains(ZeroDivisionError)
