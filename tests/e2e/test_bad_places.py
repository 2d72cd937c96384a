"""Sockets, ports, folders and disks that cannot be used: said at once, and cured without loss."""

import asyncio
import os
import socket
import subprocess
from contextlib import contextmanager

import pytest

from dmi_cli.exits import Exit
from tests.e2e.node import TANK_MODEL, VIRTUAL, tank
from tests.e2e.programs import until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start, some of them twice.
    pytest.mark.timeout(60),
]


def a_file(path):
    path.write_text("precious")
    return path


def a_directory(path):
    path.mkdir()
    return path


def a_link(path):
    path.symlink_to("elsewhere")
    return path


def too_long(path):
    return path.with_name("x" * 120)


def no_folder(path):
    return a_file(path) / "below" / "dmi.sock"


PLACES = {
    a_file: "is a regular file, not a socket",
    a_directory: "is a directory, not a socket",
    a_link: "is a symbolic link, not a socket",
    too_long: "a Unix socket's may have 107",
    no_folder: "cannot use the directory",
}


@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
async def test_a_manager_socket_that_cannot_be(dmi, socket_dir, make):
    place = make(socket_dir / "place")
    words = ("--data-dir", socket_dir / "data", "--socket", place, "--api", "127.0.0.1:0")
    code, out, err = await dmi("manager", *words)
    assert (code, out) == (Exit.USAGE, "")
    assert PLACES[make] in err
    assert str(place) in err
    assert "Traceback" not in err
    if make is a_file:
        assert place.read_text() == "precious"


async def test_a_socket_of_another_user(dmi, socket_dir):
    place = socket_dir / "dmi.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(place))
    try:
        os.chown(place, 65534, -1)
    except PermissionError:
        pytest.skip("only root can give a socket away")
    words = ("--data-dir", socket_dir / "data", "--socket", place, "--api", "127.0.0.1:0")
    code, _, err = await dmi("manager", *words)
    assert code == Exit.USAGE
    assert f"socket {place} belongs to user id 65534" in err
    assert place.is_socket()


async def test_a_stale_socket_is_taken_over(stage):
    for place in (stage.socket, stage.folder / "api.sock"):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(place))
    _, manager = await stage.manager()
    assert (await manager.get("/api/v1/status"))["ready"] is True
    assert stage.socket.stat().st_mode & 0o777 == 0o660


async def test_a_socket_of_a_living_manager(stage, dmi, socket_dir):
    program, manager = await stage.manager()
    words = ("--data-dir", socket_dir / "other", "--api", "127.0.0.1:0")
    code, _, err = await dmi("manager", *words, "--socket", stage.socket)
    assert code == Exit.USAGE
    assert f"another process is serving on {stage.socket}" in err
    # Neither its API's socket nor its database can be taken.
    code, _, err = await dmi(
        "manager", "--data-dir", socket_dir / "other", "--api", stage.api, "--socket", "own.sock"
    )
    assert (code, "another process is serving" in err) == (Exit.USAGE, True)
    code, _, err = await dmi(
        *("manager", "--data-dir", stage.data, "--socket", "own.sock", "--api", "127.0.0.1:0")
    )
    assert (code, str(stage.data) in err, "use" in err) == (Exit.USAGE, True, True)
    assert program.running
    assert (await manager.get("/api/v1/status"))["ready"] is True


async def test_a_port_in_use(dmi, socket_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = ("--data-dir", socket_dir / "data", "--socket", socket_dir / "dmi.sock")
        code, _, err = await dmi("manager", *words, "--api", address)
        assert (code, address in err, "in use" in err) == (Exit.USAGE, True, True)
        assert not (socket_dir / "dmi.sock").exists()
        words = ("--manager-socket", socket_dir / "dmi.sock", "--rest", address)
        code, _, err = await dmi("mapper", VIRTUAL, *words)
        assert (code, address in err, "in use" in err) == (Exit.USAGE, True, True)
        code, _, err = await dmi("simulate", "modbus", "--port", taken.getsockname()[1])
        assert (code, address in err) == (1, True)


async def test_an_api_for_everybody_needs_a_token(dmi, socket_dir):
    words = ("--data-dir", socket_dir / "data", "--socket", socket_dir / "dmi.sock")
    code, _, err = await dmi("manager", *words, "--api", "0.0.0.0:0")
    assert (code, "apiTokenFile" in err) == (Exit.USAGE, True)
    code, _, err = await dmi("mapper", VIRTUAL, "--rest", "0.0.0.0:0")
    assert (code, "token" in err.lower()) == (Exit.USAGE, True)


# ------------------------------------------------------------------- database ----


async def test_a_corrupt_database(stage, dmi):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "level")
    # Killed, it would leave a log from which SQLite makes all of the database anew.
    assert await program.stop() == 0
    database = stage.data / "manager.db"
    rubbish = b"not a database " * 1000
    database.write_bytes(rubbish)

    code, _, err = await dmi(*stage.manager_words())
    assert code == Exit.USAGE
    assert f"{database} is damaged" in err
    assert "--quarantine-corrupt" in err
    assert database.read_bytes() == rubbish

    program.words.append("--quarantine-corrupt")
    await program.start()
    (aside,) = stage.data.glob("manager.db.corrupt-*")
    assert aside.read_bytes() == rubbish
    # The files fill the empty one again, and the mapper comes back by itself.
    await manager.until_reported("tank", "level")
    # With a sound database the flag does nothing.
    await program.restart()
    assert list(stage.data.glob("manager.db.corrupt-*")) == [aside]


async def test_a_page_in_the_middle_is_damaged(stage, dmi):
    stage.write("tank.yaml", TANK_MODEL, *(tank(f"tank-{n}") for n in range(30)))
    program, manager = await stage.manager()
    await until("all are there", lambda: _count(manager, 90))
    assert await program.stop() == 0
    database = stage.data / "manager.db"
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(3 * 4096))
    code, _, err = await dmi(*stage.manager_words())
    assert (code, "is damaged" in err) == (Exit.USAGE, True)


async def _count(manager, number):
    return len(await manager.twins()) == number


# ----------------------------------------------------------------------- disks ----


@contextmanager
def small_disk(place, size="3m"):
    """A file system of its own; skips loudly where that is not permitted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        text = f"needs permission to mount a tmpfs: {done.stderr.strip()}"
        assert os.environ.get("CI") != "true", text
        pytest.skip(text)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place):
    """Leave not one byte."""
    file = place / "ballast"
    with file.open("ab", buffering=0) as out:
        for size in (65536, 4096, 1):
            try:
                while True:
                    out.write(b"x" * size)
            except OSError:
                continue
    return file


async def test_a_full_disk(stage):
    with small_disk(stage.data):
        stage.write("tank.yaml", TANK_MODEL, tank(cycle=20))
        program, manager = await stage.manager()
        mapper = await stage.mapper()
        rest = stage.rest_of(mapper)
        await manager.until_reported("tank", "level")
        answer = await manager.put_desired("tank", "setpoint", 11, wait=5)
        acknowledged = answer.json()["desired"]
        ballast = fill(stage.data)

        async def unready():
            answer = await manager.ask("GET", "/readyz")
            return answer if answer.status_code == 503 else None

        # The log of the database may hold some room yet; then it is over.
        answer = await until("it says that it is not ready", unready, 20)
        assert "full" in answer.json()["detail"]
        assert (await manager.ask("GET", "/healthz")).status_code == 200
        status = await manager.get("/api/v1/status")
        assert (status["ready"], "full" in status["storage"]["error"]) == (False, True)
        # What cannot be kept is not promised.
        answer = await manager.put_desired("tank", "setpoint", 12)
        assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
        # What is known is still told.
        assert (await manager.twin("tank", "setpoint"))["desired"]["version"] == (
            acknowledged["version"]
        )

        ballast.unlink()

        async def ready():
            return (await manager.ask("GET", "/readyz")).status_code == 200

        await until("it is ready again", ready)
        answer = await manager.put_desired("tank", "setpoint", 13, wait=5)
        assert answer.json()["desired"]["status"] == "confirmed"
        made = (await rest.counts())["dmi_mapper_reported_readings_total"]

        async def delivered():
            counts = await rest.counts()
            return counts["dmi_mapper_acknowledged_readings_total"] >= made and counts

        counts = await until("everything is acknowledged", delivered)
        assert counts.get("dmi_mapper_dropped_readings_total", 0) == 0
        program.kill()
        await program.start()
        twin = await manager.twin("tank", "setpoint")
        assert (twin["desired"]["value"], twin["desired"]["status"]) == (13.0, "confirmed")
        program.end()


async def test_killed_on_a_full_disk_nothing_acknowledged_is_lost(stage):
    with small_disk(stage.data):
        stage.write("tank.yaml", TANK_MODEL, tank(cycle=20))
        program, manager = await stage.manager()
        await stage.mapper()
        await manager.until_reported("tank", "level")
        answer = await manager.put_desired("tank", "setpoint", 21, wait=5)
        version = answer.json()["desired"]["version"]
        ballast = fill(stage.data)
        value = 22
        while (answer := await manager.put_desired("tank", "setpoint", value)).is_success:
            # Promised as long as there is room in the database's log.
            version = answer.json()["desired"]["version"]
            value = 22 + (value + 1) % 50
            await asyncio.sleep(0)
        program.kill()
        ballast.unlink()
        await program.start()
        twin = await manager.until_settled("tank", "setpoint")
        assert twin["desired"]["version"] >= version
        program.end()


async def test_a_folder_that_cannot_be_written(dmi, socket_dir):
    with small_disk(socket_dir / "data"):
        remount = ["mount", "-o", "remount,ro", str(socket_dir / "data")]
        await asyncio.to_thread(subprocess.run, remount, check=True)
        words = ("--data-dir", socket_dir / "data", "--socket", socket_dir / "dmi.sock")
        code, _, err = await dmi("manager", *words, "--api", "127.0.0.1:0")
        assert code == Exit.USAGE
        assert str(socket_dir / "data") in err
        assert "Read-only" in err
        assert not (socket_dir / "dmi.sock").exists()
