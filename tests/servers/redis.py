"""redis-server with a file that it appends to, so that it survives `kill -9`."""

import contextlib
import socket
from typing import ClassVar

from tests.servers.certificates import Certificates
from tests.servers.process import ServerProcess


class Redis(ServerProcess):
    """Options are further lines of its configuration, as they stand in redis.conf.

    With certificates it listens with TLS only, and wants to see a client's.
    """

    binary: ClassVar[str] = "redis-server"

    def __init__(self, *options: str, certificates: Certificates | None = None) -> None:
        super().__init__()
        self.options = options
        self.certificates = certificates

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        lines = [
            *self._listening(),
            "bind 127.0.0.1",
            f"dir {self.folder}",
            "appendonly yes",
            'save ""',
            *self.options,
        ]
        return [self.program, str(self.write("redis.conf", "\n".join(lines) + "\n"))]

    def answers(self) -> bool:
        """Whether it has read its file too: it listens before."""
        if self.certificates is not None:
            return super().answers()
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as connection,
        ):
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
            return bool(answer) and not answer.startswith(b"-LOADING")
        return False

    def _listening(self) -> list[str]:
        if (files := self.certificates) is None:
            return [f"port {self.port}"]
        return [
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {files.server}",
            f"tls-key-file {files.server_key}",
            f"tls-ca-cert-file {files.authority}",
        ]
