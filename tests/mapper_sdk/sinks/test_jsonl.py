"""The JSON-lines sink on a real file system."""

import asyncio
import base64
import fcntl
import gzip
import json
import os
import resource
import stat
from datetime import datetime

import pytest
from pydantic import ValidationError

from dmi.errors import ConfigError, ConversionError, UnavailableError, UnsupportedError
from dmi.readings import QUALITIES, Quality, Reading
from dmi.resources import DataType, PushMqtt
from mapper_sdk.delivery.contract import SinkContract, make_route, opened
from mapper_sdk.sinks.jsonl.sink import JsonLinesPlace, JsonLinesSink, JsonLinesTarget

START = 1_790_000_000.0


def lines_of(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert not data or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def values_of(path):
    return [line["value"] for line in lines_of(path)]


def make_items(count, start=0):
    route = make_route(JsonLinesPlace())
    return [(route, Reading(float(n), START + n)) for n in range(start, start + count)]


class TakenAway:
    """Somebody else has the file while this "server" is dead."""

    def __init__(self, path):
        self.path = path
        self.aside = path.with_name("aside")
        self.holder = None

    async def kill(self):
        if self.path.exists():
            self.path.rename(self.aside)
        self.holder = self.path.open("wb")
        fcntl.flock(self.holder, fcntl.LOCK_EX)

    async def start(self):
        if self.holder is not None:
            self.holder.close()
            self.holder = None
            self.path.unlink()
            if self.aside.exists():
                self.aside.rename(self.path)


class TestContract(SinkContract):
    tells_apart = False

    @pytest.fixture
    def server(self, tmp_path):
        return TakenAway(tmp_path / "r.jsonl")

    @pytest.fixture
    def sink(self, server):
        return JsonLinesSink(JsonLinesTarget(path=server.path))

    async def arrived(self, server, route):
        names = (route.source.device.name, route.source.property)
        found = []
        for line in lines_of(server.path):
            if (line["device"], line["property"]) == names:
                value = line["value"]
                if line["type"] == DataType.BYTES and value is not None:
                    value = base64.b64decode(value)
                time = datetime.fromisoformat(line["time"]).timestamp()
                quality = Quality(QUALITIES.index(line["quality"]))
                found.append(Reading(value, time, quality, line["reason"]))
        return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "readings.jsonl"


@pytest.fixture
def make_sink(path):
    return lambda **settings: JsonLinesSink(JsonLinesTarget(path=path, **settings))


async def test_it_is_for_its_user_alone(make_sink, path):
    before = os.umask(0)
    try:
        async with opened(make_sink()):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_torn_line_of_a_crash_is_cut_off(make_sink, path):
    async with opened(sink := make_sink(sync=False)):
        await sink.send(make_items(2))
    whole = path.read_bytes()
    for torn in (b"{", b'{"value":' + b"x" * 200_000):
        path.write_bytes(whole + torn)
        async with opened(sink := make_sink()):
            assert path.read_bytes() == whole
    path.write_bytes(b"x" * 200_000)
    async with opened(sink := make_sink()):
        await sink.send(make_items(1, 2))
    assert values_of(path) == [2.0]


async def test_what_json_cannot_hold_is_refused_alone(make_sink, path):
    route = make_route(JsonLinesPlace())
    async with opened(sink := make_sink()):
        failed = await sink.send([(route, Reading(float("nan"), START)), *make_items(1)])
        assert {index: type(error) for index, error in failed.items()} == {0: ConversionError}
        assert list(await sink.send([(route, Reading(float("inf"), START))])) == [0]
    assert values_of(path) == [0.0]


async def test_a_full_disk_leaves_nothing_half(make_sink, path):
    async with opened(sink := make_sink()):
        await sink.send(make_items(5))
        size = path.stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, limits[1]))
        try:
            with pytest.raises(UnavailableError, match="large"):
                await sink.send(make_items(5, 5))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.stat().st_size == size
        await sink.send(make_items(5, 5))
    assert values_of(path) == [float(n) for n in range(10)]


async def test_a_send_that_was_given_up_is_taken_back(make_sink, path):
    """Its thread may have written; the repetition must not double that."""
    async with opened(sink := make_sink()):
        await sink.send(make_items(1))
        for _ in range(20):
            send = asyncio.ensure_future(sink.send(make_items(50, 1)))
            await asyncio.sleep(0)
            send.cancel()
            await asyncio.gather(send, return_exceptions=True)
            await sink.close()
            await sink.open()
        await sink.send(make_items(50, 1))
    assert values_of(path) == [float(n) for n in range(51)]


async def test_a_file_that_was_moved_away_is_made_anew(make_sink, path):
    async with opened(sink := make_sink()):
        await sink.send(make_items(1))
        path.rename(path.with_name("taken"))
        with pytest.raises(UnavailableError, match="moved"):
            await sink.send(make_items(1, 1))
        with pytest.raises(UnavailableError, match="not open"):
            await sink.send(make_items(1, 1))
        await sink.close()
        await sink.open()
        await sink.send(make_items(1, 1))
    assert values_of(path.with_name("taken")) == [0.0]
    assert values_of(path) == [1.0]


async def test_two_never_write_at_once(make_sink):
    async with opened(make_sink()):
        with pytest.raises(UnavailableError, match="another process"):
            await make_sink().open()


async def test_its_folder_is_made_for_this_user_only(tmp_path):
    folder = tmp_path / "a" / "b"
    async with opened(sink := JsonLinesSink(JsonLinesTarget(path=folder / "r.jsonl"))):
        assert not await sink.send(make_items(1))
    assert values_of(folder / "r.jsonl") == [0.0]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_folder_that_cannot_be_is_a_mistake(tmp_path):
    (tmp_path / "none").write_text("")
    sink = JsonLinesSink(JsonLinesTarget(path=tmp_path / "none" / "r.jsonl"))
    with pytest.raises(ConfigError, match="none"):
        await sink.open()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        await JsonLinesSink(JsonLinesTarget(path=tmp_path / "link.jsonl")).open()


# ------------------------------------------------------------------- rotation ----


@pytest.mark.parametrize("packed", [False, True])
async def test_long_files_are_put_aside_and_the_oldest_go(make_sink, path, packed):
    (path.parent / "readings-of-others.jsonl").write_text("")
    async with opened(sink := make_sink(max_size=4096, max_files=3, gzip=packed)):
        for n in range(0, 200, 10):
            assert not await sink.send(make_items(10, n))
    files = sorted(path.parent.glob("readings-2*"))
    assert len(files) == 3
    assert {file.suffix for file in files} == {".gz" if packed else ".jsonl"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    found = [value for file in [*files, path] for value in values_of(file)]
    assert found == [float(n) for n in range(int(found[0]), 200)]
    assert all(len(values_of(file)) == 20 for file in files)
    assert (path.parent / "readings-of-others.jsonl").exists()


async def test_old_files_are_put_aside_also_after_a_restart(make_sink, path):
    async with opened(sink := make_sink()):
        await sink.send(make_items(1))  # from long ago, by the clock of this machine
    async with opened(sink := make_sink(max_age=3600.0, max_files=0)):
        await sink.send(make_items(1, 1))
        await sink.send(make_items(1, 2))
    (aside,) = path.parent.glob("readings-2*")
    assert values_of(aside) == [0.0]
    assert values_of(path) == [1.0, 2.0]


async def test_the_age_of_a_strange_file_is_that_of_its_last_change(make_sink, path):
    path.write_text("no JSON\n")
    async with opened(sink := make_sink(max_age=3600.0)):
        await sink.send(make_items(1))
    assert path.read_text().startswith("no JSON\n{")


async def test_leftovers_of_a_crash_are_tidied(make_sink, path):
    (path.parent / "readings-20260101T000000-000001.jsonl.part").write_text("x")
    (path.parent / "readings-20260101T000000-000001.jsonl").write_text("{}\n")
    async with opened(sink := make_sink(max_size=4096, gzip=True)):
        for n in range(0, 40, 10):
            await sink.send(make_items(10, n))
    assert not list(path.parent.glob("*.part"))
    assert lines_of(path.parent / "readings-20260101T000000-000001.jsonl.gz") == [{}]


# ------------------------------------------------------------------- settings ----


@pytest.mark.parametrize(
    "settings", [{"path": "r.jsonl"}, {"path": "/"}, {"path": "/r", "maxSize": 1}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        JsonLinesTarget.model_validate(settings)


def test_a_device_has_no_word_for_it():
    with pytest.raises(UnsupportedError):
        JsonLinesSink.pushed(PushMqtt())
