"""redis-server with a file that it appends to, so that it survives `kill -9`."""

from typing import ClassVar

from tests.servers.process import ServerProcess


class Redis(ServerProcess):
    """Options are further lines of its configuration, as they stand in redis.conf."""

    binary: ClassVar[str] = "redis-server"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            "appendonly yes",
            'save ""',
            *self.options,
        ]
        return [self.program, str(self.write("redis.conf", "\n".join(lines) + "\n"))]
