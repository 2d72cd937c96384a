"""MariaDB from Debian's package or PATH, with TLS."""

from typing import ClassVar

from tests.servers.certificates import make_certificates
from tests.servers.process import ServerProcess

USER, PASSWORD = "mapper", "wine and růže"


class MariaDB(ServerProcess):
    """`root` over the Unix socket; others as tests make them."""

    binary: ClassVar[str] = "mariadbd"
    user: ClassVar[str] = "mysql"

    @property
    def socket(self) -> str:
        return str(self.folder / "s")

    def prepare(self) -> None:
        data = self.folder / "data"
        if not data.exists():
            self.run(
                *(self.find("mariadb-install-db"), "--no-defaults", f"--datadir={data}"),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
                "--innodb-flush-log-at-trx-commit=0",
            )
            self.certificates = make_certificates(self.folder)
            for file in self.folder.iterdir():
                if file.is_file():
                    self.write(file.name, file.read_text())

    def command(self) -> list[str]:
        settings = {
            "datadir": self.folder / "data",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.socket,
            "pid-file": self.folder / "pid",
            "innodb-buffer-pool-size": "32M",
            "innodb-log-file-size": "16M",
            "innodb-flush-log-at-trx-commit": 2,  # the machine's power stays on
            "innodb-flush-method": "nosync",
            "innodb-doublewrite": 0,
            "sync-frm": 0,
            "max-connections": 20,
            "default-time-zone": "-05:00",  # so that nobody relies on UTC
            "character-set-server": "latin1",  # nor on utf8mb4
            "sql-mode": "NO_BACKSLASH_ESCAPES,ANSI_QUOTES",  # nor on strictness and escapes
            "ssl-cert": self.folder / "server.pem",
            "ssl-key": self.folder / "server.key",
            "ssl-ca": self.folder / "authority.pem",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.program, "--no-defaults", "--skip-name-resolve", *options]

    def sql(self, query: str, database: str = "mysql") -> str:
        """Run statements as `root`; give the rows as text, columns divided by tabs."""
        return self.run(
            *(self.find("mariadb"), "--no-defaults", f"--socket={self.socket}", "-uroot"),
            *("--default-character-set=utf8mb4", "-N", "-r", "-B", "-e", query, database),
        ).strip("\n")
