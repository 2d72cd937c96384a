"""The device manager's REST API, as the verbs use it."""

import os
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

import httpx

from dmi.errors import ConfigError, DeadlineError, UnavailableError
from dmi.rest.problem import from_problem

__all__ = ["Client", "Json", "object_path"]

Json = dict[str, Any]

DEFAULT_SERVER: Final = "http://127.0.0.1:10350"
_PAGE: Final = 1000
_UNIX: Final = "unix:"


def object_path(*parts: str) -> str:
    """Path below `/api/v1` of what these words name."""
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """One connection to a manager; refusals and silence leave as `dmi.errors`."""

    def __init__(self, server: str | None = None, *, timeout: float = 10.0) -> None:
        """Connects on first use.

        Args:
            server: `http(s)://host:port` or `unix:/path`; DMI_SERVER when left out.
            timeout: Seconds for one answer.

        Raises:
            ConfigError: The address, the token file or a file of TLS is unusable.
        """
        self.server = server or os.environ.get("DMI_SERVER") or DEFAULT_SERVER
        self._timeout = timeout
        transport, base = _transport(self.server)
        # The manager is a neighbour: a proxy for the internet must not be asked for it.
        self._http = httpx.Client(
            base_url=base,
            transport=transport,
            timeout=timeout,
            trust_env=False,
            verify=_tls() if base.startswith("https:") else True,
            headers=_authorization(),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | float] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
        also: Collection[int] = (),
    ) -> Json:
        """One request; its JSON answer, empty when it has none.

        Args:
            method: GET, PUT, POST or DELETE.
            path: From `object_path`.
            params: Query.
            json: Body.
            headers: Beside the usual ones.
            patience: Seconds that the answer may take beyond the usual.
            also: Statuses of refusals whose body is an answer all the same.

        Raises:
            DmiError: The manager refused; the class is that of its reason.
            UnavailableError: It cannot be reached.
            DeadlineError: It did not answer in time.
        """
        with self._translated():
            answer = self._http.request(
                method,
                path,
                params=params,
                json=json,
                headers=headers,
                timeout=self._timeout + patience,
            )
        if answer.is_error and answer.status_code not in also:
            raise from_problem(answer.status_code, answer.content)
        if not answer.content:
            return {}
        try:
            found = answer.json()
        except ValueError as error:
            raise UnavailableError(f"{self.server} answers, but not as a device manager") from error
        return found if isinstance(found, dict) else {"items": found}

    def items(self, path: str, params: Mapping[str, str] | None = None) -> list[Json]:
        """Everything of a list, page by page."""
        found: list[Json] = []
        token = ""
        while True:
            page = self.request(
                "GET", path, params={**(params or {}), "limit": _PAGE, "continue": token}
            )
            found += page.get("items", [])
            token = str(page.get("continue") or "")
            if not token:
                return found

    @contextmanager
    def lines(
        self, path: str, params: Mapping[str, str], last_event: str, silence: float
    ) -> Iterator[Iterator[str]]:
        """Lines of a stream of server-sent events.

        Args:
            path: From `object_path`.
            params: Query.
            last_event: Id to resume after; empty for only what comes.
            silence: Seconds without a byte, after which the stream counts as broken.

        Raises:
            UnavailableError: It cannot be reached, fell silent, or broke off.
            DmiError: The manager refused.
        """
        headers = {"accept": "text/event-stream"}
        if last_event:
            headers["last-event-id"] = last_event
        with (
            self._translated(),
            self._http.stream(
                "GET",
                path,
                params=params,
                headers=headers,
                timeout=httpx.Timeout(self._timeout, read=silence),
            ) as answer,
        ):
            if answer.is_error:
                raise from_problem(answer.status_code, answer.read())
            yield _lines(answer.iter_bytes())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ConfigError(f"{self.server!r} is not an address: {error}") from error
        except httpx.ConnectError as error:
            raise UnavailableError(
                f"no device manager answers at {self.server}; is it running (dmi manager)?"
                " Another address is given by --server or DMI_SERVER"
            ) from error
        except httpx.TimeoutException as error:
            raise DeadlineError(f"{self.server} did not answer in time") from error
        except httpx.TransportError as error:
            raise UnavailableError(f"{self.server}: {error}") from error


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """Lines that end with LF, as the manager's do: a value may hold other ends of lines."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()


def _transport(server: str) -> tuple[httpx.HTTPTransport | None, str]:
    if server.startswith(_UNIX):
        path = server.removeprefix(_UNIX).removeprefix("//")
        return httpx.HTTPTransport(uds=path), "http://localhost"
    if not server.startswith(("http://", "https://")):
        raise ConfigError(
            f"--server {server!r} must start with http://, https:// or unix: and a path"
        )
    return None, server


def _authorization() -> dict[str, str]:
    file = os.environ.get("DMI_TOKEN_FILE")
    if not file:
        return {}
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"DMI_TOKEN_FILE {file}: {error}") from error
    return {"authorization": f"Bearer {token}"}


def _tls() -> ssl.SSLContext:
    authority, certificate = os.environ.get("DMI_CA_FILE"), os.environ.get("DMI_CERTIFICATE_FILE")
    try:
        context = ssl.create_default_context(cafile=authority or None)
        if certificate:
            context.load_cert_chain(certificate, os.environ.get("DMI_KEY_FILE"))
    except (OSError, ssl.SSLError) as error:
        files = "DMI_CA_FILE, DMI_CERTIFICATE_FILE, DMI_KEY_FILE"
        raise ConfigError(f"{files}: {error}") from error
    return context
