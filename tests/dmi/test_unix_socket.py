"""Unix sockets: taking one over, refusing what is not ours, telling it from its successor."""

import asyncio
import os
import socket
import stat
import sys
import tempfile
from pathlib import Path

import grpc
import pytest

from dmi.errors import ConfigError, ConflictError, UnavailableError
from dmi.status import from_grpc
from dmi.unix_socket import MAX_PATH_BYTES, bind, channel, identity, prepare, server_options, target


@pytest.fixture
def folder():
    """A directory whose name is short, as socket paths must be."""
    with tempfile.TemporaryDirectory(prefix="dmi-") as name:
        yield Path(name)


@pytest.fixture
def path(folder):
    return folder / "dmi.sock"


@pytest.fixture
async def servers():
    started = []
    yield started
    for server in started:
        await server.stop(None)


async def serve(path, servers):
    async def echo(request, _context):
        return request

    server = grpc.aio.server(options=server_options())
    method = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Service", {"Echo": method}),)
    )
    bind(server, path)
    await server.start()
    servers.append(server)
    return server


def leave_behind(path):
    """A socket file that nobody serves any more, as SIGKILL leaves it."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


async def test_a_call_over_a_bound_socket(path, servers):
    await serve(path, servers)
    async with channel(path) as open_channel:
        assert await open_channel.unary_unary("/test.Service/Echo")(b"hello") == b"hello"


async def test_owner_and_group_only(folder, servers):
    path = folder / "made" / "here" / "dmi.sock"
    before = os.umask(0)
    try:
        await serve(path, servers)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


async def test_messages_beyond_the_librarys_limit(path, servers):
    await serve(path, servers)
    large = b"x" * (5 * 1024 * 1024)
    async with channel(path) as open_channel:
        assert await open_channel.unary_unary("/test.Service/Echo")(large) == large


async def test_odd_characters_in_the_path(folder, servers):
    path = folder / "a b#c%20ü?.sock"
    await serve(path, servers)
    assert path.is_socket()
    async with channel(path) as open_channel:
        assert await open_channel.unary_unary("/test.Service/Echo")(b"ok") == b"ok"


async def test_the_authority_is_plain(path):
    """Read from the wire: strict servers reset a call whose authority is an encoded path."""
    empty_settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    found = asyncio.get_running_loop().create_future()

    async def listen(reader, writer):
        writer.write(empty_settings)
        seen = b""
        while b"/any/Call" not in seen:
            seen += await reader.read(65536)
        found.set_result(seen)
        writer.close()

    server = await asyncio.start_unix_server(listen, str(path))
    async with server, channel(path) as open_channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await open_channel.unary_unary("/any/Call")(b"", timeout=5)
    assert b"localhost" in await found
    assert path.name.encode() not in found.result()


async def test_a_restarted_server_is_found_again(path, servers):
    first = await serve(path, servers)
    async with channel(path) as open_channel:
        echo = open_channel.unary_unary("/test.Service/Echo")
        await echo(b"1")
        await first.stop(None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await echo(b"2")
        assert isinstance(from_grpc(caught.value, "echo"), UnavailableError)
        await serve(path, servers)
        assert await echo(b"3", wait_for_ready=True, timeout=5) == b"3"


def test_a_stale_socket_is_removed(path):
    leave_behind(path)
    prepare(path)
    assert not path.exists()


@pytest.mark.process
async def test_after_kill_9_the_path_can_be_served_again(path, servers):
    code = (
        "import socket, sys, time\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert await process.stdout.readline() == b"up\n"
        with pytest.raises(ConflictError, match="another process is serving"):
            prepare(path)
    finally:
        process.kill()
        await process.communicate()
    assert path.is_socket()
    await serve(path, servers)


async def test_a_living_server_is_not_robbed(path, servers):
    await serve(path, servers)
    with pytest.raises(ConflictError, match="another process is serving"):
        bind(grpc.aio.server(), path)
    async with channel(path) as open_channel:
        assert await open_channel.unary_unary("/test.Service/Echo")(b"still") == b"still"


def test_a_full_backlog_counts_as_living(path):
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        try:
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(str(path))
            with pytest.raises(ConflictError):
                prepare(path)
        finally:
            for each in waiting:
                each.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.touch, "is a regular file, not a socket"),
        (Path.mkdir, "is a directory, not a socket"),
        (lambda path: path.symlink_to("/dev/null"), "is a symbolic link, not a socket"),
        (os.mkfifo, "is a special file, not a socket"),
    ],
)
def test_what_is_not_a_socket_is_left_alone(path, make, words):
    make(path)
    with pytest.raises(ConfigError, match=words):
        prepare(path)
    assert path.lstat()


def test_another_users_socket_is_left_alone(path, monkeypatch):
    leave_behind(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.lstat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to user id"):
        prepare(path)
    assert path.is_socket()


def test_a_directory_that_is_a_file(folder):
    (folder / "file").touch()
    with pytest.raises(ConfigError, match="cannot use the directory"):
        prepare(folder / "file" / "dmi.sock")


def test_a_directory_that_may_not_be_written(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="permission denied"):
        prepare(folder / "dmi.sock")


def test_a_stale_socket_that_cannot_be_removed(path, monkeypatch):
    leave_behind(path)

    def refuse(*_args, **_kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ConfigError, match="cannot remove the stale socket"):
        prepare(path)


def test_what_the_library_refuses_is_a_config_error(path):
    class Refusing:
        def add_insecure_port(self, _address):
            raise RuntimeError("no room")

    with pytest.raises(ConfigError, match=r"cannot listen on .* no room"):
        bind(Refusing(), path)


def test_the_longest_path(folder):
    longest = folder / ("x" * (MAX_PATH_BYTES - len(str(folder)) - 1))
    prepare(longest)
    leave_behind(longest)
    too_long = longest.with_name(longest.name + "x")
    with pytest.raises(ConfigError, match="has 108 bytes"):
        prepare(too_long)
    with pytest.raises(ConfigError, match="set a shorter one"):
        channel(too_long)


def test_target(monkeypatch, folder):
    assert target(Path("/run/dmi/dmi.sock")) == "unix:/run/dmi/dmi.sock"
    monkeypatch.chdir(folder)
    assert target(Path("dmi.sock")) == f"unix:{Path.cwd()}/dmi.sock"


def test_identity_tells_a_successor(path):
    assert identity(path) is None
    leave_behind(path)
    first = identity(path)
    path.chmod(0o660)
    assert identity(path) == first
    path.rename(path.with_suffix(".old"))  # so that its inode number stays taken
    leave_behind(path)
    assert identity(path) not in (None, first)


def test_identity_of_what_is_no_socket(path):
    path.touch()
    assert identity(path) is None
    assert identity(path / "below") is None
