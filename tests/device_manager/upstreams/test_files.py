import asyncio
import os
import shutil
from contextlib import asynccontextmanager

import orjson
import pytest
import yaml

from device_manager.upstreams.files import FilesUpstream
from dmi.resources import Key
from tests.device_manager.plants import MODEL, PUMP, device, model

OTHER = Key("default", "other")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "devices"
    folder.mkdir()
    return folder


def write(path, *objects):
    path.write_text(yaml.safe_dump_all([item.to_json() for item in objects]))
    # As if it had been written a while ago, so that its times can be relied on.
    write.age += 1
    os.utime(path, (write.age, write.age))


write.age = 1_700_000_000


@pytest.fixture
async def upstream(node, folder):
    return FilesUpstream(node, folder)


async def test_files_are_added_edited_and_deleted(node, folder, upstream):
    write(folder / "model.yaml", model())
    write(folder / "pump.yaml", device(), device("other"))
    await upstream.sync()
    assert (set(node.devices), set(node.models)) == ({PUMP, OTHER}, {MODEL})
    write(folder / "pump.yaml", device(speed="4"))
    await upstream.sync()
    assert set(node.devices) == {PUMP}
    assert node.twin(PUMP, "speed").desired.value == 4
    (folder / "pump.yaml").unlink()
    await upstream.sync()
    assert (set(node.devices), set(node.models)) == (set(), {MODEL})


async def test_a_file_name_that_is_not_unicode_is_shown_and_harms_nothing(node, folder, upstream):
    odd = os.fsdecode(b"\xfc")
    write(folder / f"{odd}-pump.yaml", device())
    (folder / f"{odd}-wrong.yaml").write_text("kind: [")
    write(folder / "zz.yaml", device("other"))
    await upstream.sync()
    assert set(node.devices) == {PUMP, OTHER}
    assert node.origin("Device", PUMP) == f"file:{folder}/\\xfc-pump.yaml"
    told = orjson.dumps(dict(node.upstream_errors)).decode()
    assert "xfc-wrong.yaml: document 1" in told


async def test_an_untouched_folder_changes_nothing(node, folder, upstream):
    write(folder / "all.yaml", model(), device())
    await upstream.sync()
    version = node.version
    await upstream.sync()
    write(folder / "all.yaml", model(), device())
    await upstream.sync()
    assert node.version == version


async def test_a_broken_file_is_told_and_harms_nothing(node, folder, upstream):
    write(folder / "pump.yaml", model(), device())
    write(folder / "other.yaml", device("other"))
    await upstream.sync()
    (folder / "pump.yaml").write_text("apiVersion: [\n")
    write(folder / "other.yaml", device("other", speed="7"))
    await upstream.sync()
    (origin, texts), *rest = node.upstream_errors.items()
    assert rest == []
    assert origin == f"file:{folder / 'pump.yaml'}"
    assert "pump.yaml" in texts[0]
    assert set(node.devices) == {PUMP, OTHER}
    assert node.twin(OTHER, "speed").desired.value == 7
    write(folder / "pump.yaml", model(), device(speed="1"))
    await upstream.sync()
    assert node.upstream_errors == {}
    assert node.twin(PUMP, "speed").desired.value == 1


async def test_a_file_with_one_mistake_counts_as_it_last_was(node, folder, upstream):
    write(folder / "all.yaml", model(), device(speed="1"))
    await upstream.sync()
    wrong = device("other").to_json()
    wrong["spec"]["protocl"] = {}
    text = yaml.safe_dump_all([device(speed="2").to_json(), wrong])
    (folder / "all.yaml").write_text(text)
    await upstream.sync()
    assert set(node.devices) == {PUMP}
    assert node.twin(PUMP, "speed").desired.value == 1
    assert "spec.protocl" in str(node.upstream_errors)


async def test_a_broken_file_keeps_its_objects_over_a_restart(node, folder, upstream):
    write(folder / "all.yaml", model(), device())
    await upstream.sync()
    (folder / "all.yaml").write_text("{{{")
    restarted = FilesUpstream(node, folder)
    await restarted.sync()
    assert set(node.devices) == {PUMP}


async def test_of_two_files_with_one_name_the_first_keeps_it(node, folder, upstream):
    write(folder / "b.yaml", model(), device(speed="1"))
    await upstream.sync()
    write(folder / "a.yaml", device(speed="2"))
    await upstream.sync()
    assert node.twin(PUMP, "speed").desired.value == 1
    assert node.upstream_errors == {
        f"file:{folder / 'a.yaml'}": [
            f"Device default/pump is ignored here: it belongs to {folder / 'b.yaml'} already"
        ]
    }
    write(folder / "b.yaml", model())
    await upstream.sync()
    assert node.twin(PUMP, "speed").desired.value == 2
    assert node.upstream_errors == {}


async def test_an_object_that_moves_to_another_file_keeps_its_twins(node, folder, upstream):
    write(folder / "a.yaml", model(), device())
    await upstream.sync()
    await node.set_desired(PUMP, "speed", 5)
    write(folder / "a.yaml", model())
    write(folder / "b.yaml", device())
    await upstream.sync()
    assert node.twin(PUMP, "speed").desired.value == 5
    assert node.origin("Device", PUMP) == f"file:{folder / 'b.yaml'}"


async def test_a_name_taken_by_the_api_is_told_and_taken_over_when_free(node, folder, upstream):
    await node.apply(device("pump", of="api"), origin="api")
    write(folder / "a.yaml", model(), device())
    await upstream.sync()
    assert node.models
    assert "belongs to api already" in str(node.upstream_errors)
    await node.delete("Device", PUMP, "api")
    await upstream.sync()
    assert node.devices[PUMP].spec.device_model_ref.name == "pumps"
    assert node.upstream_errors == {}


async def test_an_object_twice_in_one_file_is_a_mistake(node, folder, upstream):
    write(folder / "a.yaml", device(), device())
    await upstream.sync()
    assert "is already at line 1" in str(node.upstream_errors)
    assert node.devices == {}


async def test_a_missing_folder_is_told_and_harms_nothing(node, folder, upstream):
    write(folder / "a.yaml", model(), device())
    await upstream.sync()
    shutil.rmtree(folder)
    await upstream.sync()
    assert "no such file or directory" in str(node.upstream_errors)
    assert set(node.devices) == {PUMP}
    folder.mkdir()
    write(folder / "a.yaml", model())
    await upstream.sync()
    assert (node.devices, node.upstream_errors) == ({}, {})


async def test_a_rewrite_within_the_clock_grain_is_noticed(node, folder, upstream):
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump_all([model().to_json(), device(speed="1").to_json()]))
    times = path.stat()
    await upstream.sync()
    path.write_text(path.read_text().replace("'1'", "'2'"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    await upstream.sync()
    assert node.twin(PUMP, "speed").desired.value == 2


async def test_a_status_object_in_a_file_is_nothing_to_serve(node, folder, upstream):
    (folder / "status.yaml").write_text(
        "apiVersion: devices.kubeedge.io/v1beta1\nkind: DeviceStatus\nmetadata: {name: pump}\n"
    )
    await upstream.sync()
    assert (node.devices, node.upstream_errors) == ({}, {})


@asynccontextmanager
async def running(upstream):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(upstream.run())
        yield
        task.cancel()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the file system tells nobody when it is through
            await asyncio.sleep(0.01)


async def test_changes_are_noticed_by_watching(node, folder):
    upstream = FilesUpstream(node, folder, rescan=60.0)
    write(folder / "a.yaml", model())
    async with running(upstream):
        await until(lambda: node.models)
        # The watch may start after this first file: go on until one is noticed.
        names = iter(range(1000))
        while not node.devices:
            write(folder / f"pump-{next(names)}.yaml", device())
            await asyncio.sleep(0.05)
        for path in folder.glob("pump-*"):
            path.unlink()
        await until(lambda: not node.devices)


async def test_a_folder_that_comes_later_and_is_replaced_is_followed(node, folder, tmp_path):
    folder.rmdir()
    upstream = FilesUpstream(node, folder, rescan=0.05)
    async with running(upstream):
        await until(lambda: node.upstream_errors)
        folder.mkdir()
        write(folder / "a.yaml", model())
        await until(lambda: node.models)
        folder.rename(tmp_path / "old")
        folder.mkdir()
        write(folder / "a.yaml", model(), device())
        await until(lambda: node.devices)


async def test_a_single_file_will_do(node, folder):
    write(folder / "a.yaml", model(), device())
    write(folder / "b.yaml", device("other"))
    await FilesUpstream(node, folder / "a.yaml").sync()
    assert set(node.devices) == {PUMP}
