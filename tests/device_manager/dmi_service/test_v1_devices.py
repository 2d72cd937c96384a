import grpc
import orjson
import pytest

from device_manager.dmi_service.leases import Leases
from device_manager.dmi_service.watch import View, Watcher
from device_manager.node import Node
from device_manager.records import MapperRecord
from dmi.proto.v1 import api_pb2 as pb
from dmi.reports import Outcome, OutcomeStatus
from tests.device_manager.dmi_service.v1_mapper import (
    key,
    mapper,
    round_of,
    serving,
    status_of,
)
from tests.device_manager.plants import MODEL, PUMP, device, model


async def outcome(node, version, status, reason):
    said = Outcome(PUMP, "speed", version, status, 1.0, reason)
    await node.apply_report("x", 0, [], [], [said])


async def test_the_list_has_models_before_devices_and_wishes_after_them(node):
    await node.apply(model(), device(speed="5", label=None), origin="api")
    async with serving(node) as (_, line, _):
        words, version = await round_of((await mapper(line)).watch())
    assert words == [
        "relist",
        "model_put pumps",
        "device_put pump",
        "desired pump.speed=5",
        "synced",
    ]
    assert version == node.version


async def test_devices_travel_without_desired_values_and_status(node):
    await node.apply(model(), device(speed="5", label=None), origin="api")
    async with serving(node) as (_, line, _):
        watch = (await mapper(line)).watch()
        events = [await watch.read() for _ in range(5)]
    plain = orjson.loads(events[2].device_put.json)
    assert plain["spec"]["properties"] == [{"name": "speed"}, {"name": "label"}]
    assert "status" not in plain
    assert events[4].synced.epoch == node.epoch
    assert [event.version for event in events[:4]] == [0] * 4, "a cut in the list resumes afresh"


async def test_only_the_mappers_own_protocol(node):
    await node.apply(
        model(), device(), device("tag", of="tags", protocol="ble"), model("tags"), origin="api"
    )
    async with serving(node) as (_, line, _):
        words, _ = await round_of((await mapper(line, protocol="ble")).watch())
    assert words == ["relist", "model_put tags", "device_put tag", "synced"]


async def test_changes_follow_the_list(node):
    async with serving(node) as (_, line, _):
        watch = (await mapper(line)).watch()
        assert (await round_of(watch))[0] == ["relist", "synced"]
        await node.apply(device(speed="1", label=None), origin="api")
        assert (await round_of(watch))[0] == ["device_put pump", "synced"]
        await node.apply(model(), origin="api")
        assert (await round_of(watch))[0] == ["model_put pumps", "desired pump.speed=1", "synced"]
        await node.set_desired(PUMP, "speed", 7)
        assert (await round_of(watch))[0] == ["desired pump.speed=7", "synced"]
        await node.clear_desired(PUMP, "speed")
        assert (await round_of(watch))[0] == ["desired pump.speed=None", "synced"]
        await node.delete("DeviceModel", MODEL, "api")
        assert (await round_of(watch))[0] == ["model_gone pumps", "synced"]
        await node.delete("Device", PUMP, "api")
        words, version = await round_of(watch)
        assert words == ["device_gone pump", "synced"]
        assert version == node.version


@pytest.mark.parametrize(
    ("status", "reason", "settled"),
    [
        (OutcomeStatus.PENDING, "", ""),
        (OutcomeStatus.WRITTEN, "", ""),
        (OutcomeStatus.WRITTEN, "differs", " settled"),
        (OutcomeStatus.CONFIRMED, "", " settled"),
        (OutcomeStatus.FAILED, "refused", " settled"),
    ],
)
async def test_a_wish_that_was_settled_is_marked(node, status, reason, settled):
    await node.apply(model(), device(), origin="api")
    wish = await node.set_desired(PUMP, "speed", 7)
    await outcome(node, wish.version, status, reason)
    async with serving(node) as (_, line, _):
        words, _ = await round_of((await mapper(line)).watch())
    assert words[-2] == f"desired pump.speed=7{settled}"


async def test_resuming_gives_only_what_was_missed(node):
    await node.apply(model(), device(), device("two"), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        watch = one.watch()
        _, version = await round_of(watch)
        watch.cancel()
        assert (await round_of(one.watch(version)))[0] == ["synced"]
        await node.set_desired(PUMP, "speed", 7)
        await node.delete("Device", device("two").key, "api")
        words, _ = await round_of(one.watch(version))
        assert words == ["device_gone two", "desired pump.speed=7", "synced"]


async def test_what_was_sent_after_the_resume_version_is_sent_again(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        watch = one.watch()
        _, version = await round_of(watch)
        await node.set_desired(PUMP, "speed", 7)
        await node.clear_desired(PUMP, "label")
        await node.apply(device("two"), origin="api")
        missed, _ = await round_of(watch)
        await node.delete("Device", device("two").key, "api")
        await round_of(watch)
        await node.clear_desired(PUMP, "speed")
        await round_of(watch)
        watch.cancel()
        words, _ = await round_of(one.watch(version))
    assert "desired pump.speed=7" in missed
    assert words == ["device_gone two", "desired pump.speed=None", "synced"]


async def test_resuming_in_a_new_session_works_too(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        _, version = await round_of(one.watch())
        await one.leave()
        again = await mapper(line)
        assert (await round_of(again.watch(version)))[0] == ["synced"]


@pytest.mark.parametrize("version", [1, 10**9, 2**64 - 1])
async def test_a_version_that_is_not_remembered_lists_afresh(node, version):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        assert (await round_of((await mapper(line)).watch(version)))[0][0] == "relist"


async def test_another_epoch_lists_afresh(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        _, version = await round_of(one.watch())
        assert (await round_of(one.watch(version, epoch="other")))[0][0] == "relist"


async def test_a_watch_older_than_the_log_lists_afresh(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        watch = one.watch()
        _, version = await round_of(watch)
        watch.cancel()
        for speed in range(3):
            await node.set_desired(PUMP, "speed", speed)
        node._log._forgotten = node.version - 1
        words, _ = await round_of(one.watch(version))
        assert words[0] == "relist"


async def test_a_manager_that_restarted_lists_afresh_in_the_same_epoch(tmp_path):
    node = await Node.open(tmp_path / "a.db")
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        _, version = await round_of(one.watch())
        epoch = one.welcome.epoch
    await node.close()
    node = await Node.open(tmp_path / "a.db")
    async with serving(node) as (_, line, _):
        again = await mapper(line)
        assert again.welcome.epoch == epoch
        words, _ = await round_of(again.watch(version))
    await node.close()
    assert words == ["relist", "model_put pumps", "device_put pump", "synced"]


async def test_instances_share_the_devices_and_hand_them_over(node):
    names = [f"d{number}" for number in range(40)]
    await node.apply(model(), *(device(name) for name in names), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line, instance="a")
        first = one.watch()
        await round_of(first)
        two = await mapper(line, instance="b")
        moved, _ = await round_of(first)
        listed, _ = await round_of(two.watch())
        gone = {word.split()[1] for word in moved if word.startswith("device_gone")}
        put = {word.split()[1] for word in listed if word.startswith("device_put")}
        assert gone == put
        assert 0 < len(gone) < 40
        await two.leave()
        back, _ = await round_of(first)
        assert {word.split()[1] for word in back if word.startswith("device_put")} == gone


async def test_resuming_after_devices_moved_lists_afresh(node):
    await node.apply(model(), *(device(f"d{number}") for number in range(9)), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line, instance="a")
        watch = one.watch()
        _, version = await round_of(watch)
        await mapper(line, instance="b")
        await round_of(watch)
        watch.cancel()
        assert (await round_of(one.watch(version)))[0][0] == "relist"


async def test_a_resumed_watch_gets_the_devices_of_an_instance_that_leaves(node):
    names = [f"d{number}" for number in range(20)]
    await node.apply(model(), *(device(name) for name in names), origin="api")
    async with serving(node) as (_, line, _):
        one, two = await mapper(line, instance="a"), await mapper(line, instance="b")
        watch = one.watch()
        listed, version = await round_of(watch)
        watch.cancel()
        mine = {word.split()[1] for word in listed if word.startswith("device_put")}
        for name in names:
            await node.set_desired(device(name).key, "speed", 7)
        watch = one.watch(version)
        resumed, _ = await round_of(watch)
        assert {word.split()[1].partition(".")[0] for word in resumed[:-1]} == mine
        await two.leave()
        taken, _ = await round_of(watch)
    assert {word.split()[1] for word in taken if word.startswith("device_put")} == {*names} - mine


async def test_a_watch_that_breaks_while_devices_move_lists_afresh(node):
    await node.apply(model(), *(device(f"d{number}") for number in range(9)), origin="api")
    leases = Leases(node)
    session = leases.open(MapperRecord("m", "modbus", "a", "1", "v1"))
    watcher = Watcher(node, leases, session, View())
    assert not watcher.resume(node.version)
    list(watcher.list_all())
    other = leases.open(MapperRecord("m", "modbus", "b", "1", "v1"))
    list(watcher.changes())
    await node.delete("Device", device("d0").key, "api")
    list(watcher.changes())
    leases.close(other, "test")
    version = watcher.view.version
    broken = watcher.changes()
    assert next(broken).HasField("device_put")
    broken.close()
    leases.open(MapperRecord("m", "modbus", "b", "1", "v1"))
    assert not Watcher(node, leases, session, watcher.view).resume(version)


async def test_a_device_that_changes_protocol_changes_hands(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        modbus, ble = (
            (await mapper(line)).watch(),
            (await mapper(line, name="b", protocol="ble")).watch(),
        )
        await round_of(modbus)
        await round_of(ble)
        await node.apply(device(protocol="ble"), origin="api")
        assert (await round_of(modbus))[0] == ["device_gone pump", "synced"]
        assert (await round_of(ble))[0] == ["model_put pumps", "device_put pump", "synced"]


async def test_a_slow_watcher_gets_the_last_state_not_the_history(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        watch = (await mapper(line)).watch()
        await round_of(watch)
        for speed in range(300):
            await node.set_desired(PUMP, "speed", speed)
        seen = []
        while not seen or seen[-1] != "desired pump.speed=299":
            words, _ = await round_of(watch)
            seen += words[:-1]
    assert len(seen) <= 300
    assert len(seen) == len(set(seen))


async def test_a_device_deleted_and_made_again_has_no_old_wishes(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        watch = one.watch()
        await round_of(watch)
        await node.set_desired(PUMP, "speed", 7)
        _, version = await round_of(watch)
        watch.cancel()
        await node.delete("Device", PUMP, "api")
        await node.apply(device(), origin="api")
        words, _ = await round_of(one.watch(version))
    assert words == ["device_put pump", "desired pump.speed=None", "synced"]


async def test_a_second_watch_takes_over_from_the_first(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        first = one.watch()
        _, version = await round_of(first)
        second = one.watch(version)
        assert (await round_of(second))[0] == ["synced"]
        assert (await status_of(first))[0] is grpc.StatusCode.ABORTED
        third = one.watch(version)
        assert (await round_of(third))[0] == ["synced"]


async def test_watching_needs_a_session(node):
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        one.welcome.session = "made up"
        assert (await status_of(one.watch()))[0] is grpc.StatusCode.UNAUTHENTICATED


async def propose(one, text):
    put = pb.DevicePut(key=key("found"), json=text)
    request = pb.ProposeDevicesRequest(session=one.session, devices=[put])
    return await one.devices.ProposeDevices(request)


async def test_proposals_are_kept_and_told(node):
    async with serving(node) as (server, line, _):
        one = await mapper(line)
        before = node.feed.last_id
        assert (await propose(one, b'{"kind":"Device","spec":{}}')).accepted == 1
        (kept,) = server.devices.proposals
        assert kept["object"] == {"kind": "Device", "spec": {}}
        assert kept["mapper"] == "m/0"
        event = await anext(node.feed.read(before))
        assert event.data["event"] == "proposal"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff"])
async def test_a_proposal_that_is_not_a_resource_is_refused(node, text):
    async with serving(node) as (server, line, _):
        one = await mapper(line)
        code, _ = await status_of(propose(one, text))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert not server.devices.proposals
