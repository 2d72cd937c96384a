"""PostgreSQL from Debian's package or PATH, with TLS and users of several abilities."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import ClassVar

from tests.servers.certificates import make_certificates
from tests.servers.process import ServerProcess

USER, PASSWORD = "mapper", "wine and roses"
_HBA = """
local   all all              trust
hostssl all certified 127.0.0.1/32 cert map=people
host    all postgres  127.0.0.1/32 trust
host    all all       127.0.0.1/32 scram-sha-256
"""


class PostgreSQL(ServerProcess):
    """Everybody with a password; `postgres` without; `certified` by a client's certificate."""

    binary: ClassVar[str] = "postgres"
    places: ClassVar[tuple[str, ...]] = tuple(
        sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    )
    user: ClassVar[str] = "postgres"

    def prepare(self) -> None:
        data = self.folder / "data"
        if not data.exists():
            self.run(
                *(self.find("initdb"), "-D", data, "-U", "postgres", "-A", "trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            )
            self.certificates = make_certificates(self.folder)
        self.write("data/pg_hba.conf", _HBA)
        self.write("data/pg_ident.conf", "people client certified\n")
        for name in ("server.pem", "server.key", "authority.pem"):
            file = self.write(f"data/{name}", (self.folder / name).read_text())
            file.chmod(0o600)
        for file in (self.folder / "client.pem", self.folder / "client.key"):
            file.chmod(0o644)

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "ssl": "on",
            "ssl_cert_file": "server.pem",
            "ssl_key_file": "server.key",
            "ssl_ca_file": "authority.pem",
            "timezone": "America/New_York",  # so that nobody relies on UTC
            "fsync": "off",  # the machine's power stays on
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "max_connections": "20",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self.program, "-D", str(self.folder / "data"), *options]

    def answers(self) -> bool:
        ready = self.find("pg_isready")
        return os.system(f"{ready} -q -h 127.0.0.1 -p {self.port} -U postgres") == 0  # noqa: S605

    def sql(self, query: str, database: str = "postgres") -> str:
        """Run statements as `postgres`; give the rows as text, columns divided by `|`."""
        return self.run(
            *(self.find("psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"),
            *("-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", query),
        ).strip("\n")

    def shut_down(self) -> None:
        """End its sessions too; SIGTERM would wait for them."""
        self._end(signal.SIGINT)

    def kill_now(self) -> None:
        """Kill it with its children, which would live on for a moment and block the next start."""
        children = self._children() if self.running else []
        super().kill_now()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def freeze(self) -> None:
        for process in (*self._children(), self.pid):
            os.kill(process, signal.SIGSTOP)

    def thaw(self) -> None:
        for process in (self.pid, *self._children()):
            os.kill(process, signal.SIGCONT)

    def _children(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(word) for word in listed.split()]
