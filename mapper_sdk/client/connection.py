"""What both clients know of the server: its address, our keys, and how it says no."""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import httpx
import orjson

from dmi.errors import ConfigError, DeadlineError, UnavailableError
from dmi.rest.problem import from_problem
from mapper_sdk.client.calls import Call

__all__ = [
    "ATTEMPTS",
    "DEFAULT_URL",
    "PAUSES",
    "SILENCE",
    "Server",
    "ServerSettings",
    "stream_params",
]

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:7777"
ATTEMPTS: Final = 3
"""How often a request that may be repeated is sent when the connection breaks."""
PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each further attempt."""
SILENCE: Final = 45.0
"""Seconds after which a stream counts as broken; the mapper says something every 15."""
_UNIX: Final = "unix:"


class ServerSettings(TypedDict, total=False):
    """The fields of `Server` beside its address, as both clients take them."""

    token: str
    token_file: Path | None
    ca: Path | None
    certificate: tuple[Path, Path] | None
    timeout: float


@dataclass(frozen=True, slots=True)
class Server:
    """Whom we talk to.

    Attributes:
        url: `http(s)://host:port` or `unix:/path`.
        token: Shown to it; empty for none.
        token_file: Holds the token, read once; instead of `token`.
        ca: Who signed its certificate, PEM; None for those that are publicly known.
        certificate: Our own certificate and its key, PEM, where it asks for one.
        timeout: Seconds for one answer, beyond what the call itself may take.
    """

    url: str = DEFAULT_URL
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    ca: Path | None = None
    certificate: tuple[Path, Path] | None = None
    timeout: float = 10.0

    @property
    def base(self) -> str:
        """What paths are put behind."""
        return "http://localhost" if self.socket else self.url

    @property
    def socket(self) -> str | None:
        """Path of the Unix socket, where it is one."""
        return self.url.removeprefix(_UNIX) if self.url.startswith(_UNIX) else None

    def settings(self) -> dict[str, Any]:
        """What an httpx client is made with.

        Raises:
            ConfigError: The address or a file is unusable.
        """
        if not self.url.startswith(("http://", "https://", _UNIX)):
            raise ConfigError(f"{self.url!r} must begin with http://, https:// or unix:")
        return {
            "base_url": self.base,
            "timeout": self.timeout,
            # The mapper is a neighbour: a proxy for the internet must not be asked for it.
            "trust_env": False,
            "verify": self._tls(),
            "headers": self._headers(),
        }

    def _headers(self) -> dict[str, str]:
        token = self.token
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{self.token_file}: cannot be read") from error
        return {"authorization": f"Bearer {token}"} if token else {}

    def _tls(self) -> ssl.SSLContext | bool:
        if not self.url.startswith("https://"):
            return True
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(*self.certificate)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{self.ca or ''} {self.certificate or ''}: {error}") from error
        return context

    def request(self, call: Call[T]) -> dict[str, Any]:
        """The arguments of httpx for one call."""
        content = None if call.body is None else orjson.dumps(call.body)
        headers = {"content-type": "application/json"} if content is not None else {}
        return {
            "method": call.method,
            "url": call.path,
            "params": dict(call.params),
            "headers": {**headers, **call.headers},
            "content": content,
            "timeout": self.timeout + call.patience,
        }

    def result(self, call: Call[T], answer: httpx.Response) -> T:
        """Read an answer.

        Raises:
            DmiError: The mapper refused; the class is that of its reason.
            UnavailableError: Somebody else answered.
        """
        if answer.is_error:
            raise from_problem(answer.status_code, answer.content)
        try:
            found = orjson.loads(answer.content) if answer.content else None
            return call.parse(found, answer.headers)
        except (KeyError, TypeError, ValueError) as error:
            raise UnavailableError(f"{self.url} answers, but not as a mapper") from error

    def check_stream(self, answer: httpx.Response) -> None:
        """Say whether this answer, whose body is not read yet, is a stream of events.

        Raises:
            UnavailableError: Somebody else answered.
        """
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise UnavailableError(f"{self.url} answers, but not as a mapper")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Let httpx's errors leave as ours."""
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ConfigError(f"{self.url!r} is not an address: {error}") from error
        except httpx.TimeoutException as error:
            raise DeadlineError(f"{self.url} did not answer in time") from error
        except httpx.TransportError as error:
            raise UnavailableError(f"{self.url}: {error or type(error).__name__}") from error


def stream_params(
    device: str, namespace: str, labels: str, properties: Iterable[str], kinds: Iterable[str]
) -> dict[str, str]:
    """The query of a stream of changes."""
    given = {
        "device": device,
        "namespace": namespace,
        "labels": labels,
        "properties": ",".join(properties),
        "kinds": ",".join(kinds),
    }
    return {name: value for name, value in given.items() if value}
