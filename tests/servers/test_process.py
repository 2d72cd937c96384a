"""The base of the real servers, tried with the smallest one: Python's own."""

import os
import socket
import sys
from pathlib import Path

import pytest

from tests.servers.process import ServerProcess, free_port

pytestmark = pytest.mark.process


class Files(ServerProcess):
    binary = "python3"

    def prepare(self):
        self.write("hello", "x")

    def command(self):
        return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(self.port)]


def test_it_comes_back_on_the_same_port_with_the_same_data():
    with Files() as server:
        port, first, folder = server.port, server.pid, server.folder
        assert (folder / "hello").read_text() == "x"
        server.kill_now()
        assert not server.running
        assert not server.answers()
        (folder / "hello").write_text("y")
        server.launch()
        server.launch()
        assert (server.port, server.pid != first) == (port, True)
        assert (folder / "hello").read_text() == "y"
    assert not folder.exists()


def test_a_port_that_was_taken_meanwhile_is_left():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        server = Files()
        server.port = taken = holder.getsockname()[1]
        server.answers = lambda: server.port != taken and ServerProcess.answers(server)
        with server:
            assert server.port != taken


def test_what_is_not_installed_is_skipped_here_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        ServerProcess.find("no-such-server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed"):
        ServerProcess.find("no-such-server")


def test_a_user_of_its_own_can_enter_its_folder():
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    if not Path("/usr/bin/python3").exists():
        pytest.skip("this system has no Python of its own")

    class Nobodys(Files):
        user = "nobody"

        def command(self):
            return ["/usr/bin/python3", *super().command()[1:]]  # ours may be in root's home

    with Nobodys() as server:
        assert server.run("/usr/bin/id", "-un").strip() == "nobody"
        assert server.folder.stat().st_uid != 0


def test_ports_are_free():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
