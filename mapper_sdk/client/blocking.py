"""The client for programs without an event loop."""

import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar, Unpack

import httpx

from dmi.errors import UnavailableError
from dmi.rest.problem import from_problem
from mapper_sdk.client import calls
from mapper_sdk.client.calls import Call, When
from mapper_sdk.client.connection import (
    ATTEMPTS,
    DEFAULT_URL,
    PAUSES,
    SILENCE,
    Server,
    ServerSettings,
    stream_params,
)
from mapper_sdk.client.events import EventParser
from mapper_sdk.client.models import (
    Change,
    Gap,
    JsonValue,
    Method,
    PropertyValue,
    ServedDevice,
    Span,
    Target,
)

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A mapper's REST API. Use it in a `with` block; not from several threads at once.

    A device is NAMESPACE/NAME, or a NAME in the namespace `default`. Every refusal leaves as
    the `dmi.errors` class that caused it; a mapper that cannot be reached as UnavailableError,
    one that is too late as DeadlineError.
    """

    def __init__(self, url: str = DEFAULT_URL, **more: Unpack[ServerSettings]) -> None:
        """Connects on first use.

        Args:
            url: `http(s)://host:port` or `unix:/path`.
            more: `token`, or `token_file` that holds it; `ca`, PEM of who signed the mapper's
                certificate; `certificate`, files of our own one and its key; `timeout`,
                seconds for one answer, 10 without it.

        Raises:
            ConfigError: The address or a file is unusable.
        """
        self._server = Server(url, **more)
        socket = self._server.socket
        transport = None if socket is None else httpx.HTTPTransport(uds=socket)
        self._http = httpx.Client(transport=transport, **self._server.settings())

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def read(
        self, device: str, property: str, *, live: bool = False, patience: float | None = None
    ) -> PropertyValue:
        """Give a property as it was read last; `live` asks the device itself.

        Args:
            device: NAMESPACE/NAME.
            property: Its name.
            live: Ask the device, in its turn on the bus.
            patience: Seconds to wait for that; the mapper's own 15 without it.
        """
        return self._send(calls.read(device, property, live=live, timeout=patience))

    def read_many(
        self,
        device: str,
        properties: Iterable[str] = (),
        *,
        live: bool = False,
        patience: float | None = None,
    ) -> dict[str, PropertyValue]:
        """Give several properties of a device, all without `properties`."""
        return self._send(calls.read_many(device, properties, live=live, timeout=patience))

    def device(self, device: str) -> ServedDevice:
        """Give a device with its state and all its properties."""
        return self._send(calls.device(device))

    def devices(
        self, *, namespace: str = "", labels: str = "", properties: Iterable[str] = ()
    ) -> Iterator[ServedDevice]:
        """Give the devices, page by page.

        Args:
            namespace: Only those in it.
            labels: Only those that this selector fits: `site=hall-1,line in (6,7)`.
            properties: Give the readings of these too; `["*"]` for all.
        """
        after, names = "", list(properties)
        while True:
            page = self._send(
                calls.devices(namespace=namespace, labels=labels, properties=names, after=after)
            )
            yield from page.items
            if not (after := page.after):
                return

    def write(
        self,
        device: str,
        property: str,
        value: JsonValue,
        *,
        readback: bool = True,
        dry_run: bool = False,
        if_match: str = "",
        key: str | None = None,
    ) -> PropertyValue:
        """Write a property; it is written once, however often the connection breaks.

        Args:
            device: NAMESPACE/NAME.
            property: Its name.
            value: In its unit.
            readback: Read it afterwards, and give that reading.
            dry_run: Only check whether it would be written.
            if_match: `tag` of the reading that this write is based on; when the property has
                another one by now, ConflictError.
            key: Tells this write from others of the same value; one is made without it.
        """
        return self._send(
            calls.write(
                device,
                property,
                value,
                readback=readback,
                dry_run=dry_run,
                if_match=if_match,
                key=key,
            )
        )

    def write_many(
        self,
        device: str,
        values: Mapping[str, JsonValue],
        *,
        readback: bool = True,
        dry_run: bool = False,
        key: str | None = None,
    ) -> dict[str, PropertyValue]:
        """Write several properties of a device; all are checked before any is written."""
        return self._send(
            calls.write_many(device, values, readback=readback, dry_run=dry_run, key=key)
        )

    def derive(
        self,
        device: str,
        property: str,
        value: JsonValue,
        *,
        time: When | None = None,
        quality: str = "",
        key: str | None = None,
    ) -> None:
        """Hand in a reading that this program worked out; it becomes one like any other.

        Args:
            device: NAMESPACE/NAME.
            property: One that is declared as `derived`.
            value: None only with the quality `bad`.
            time: When that was true; now without it.
            quality: `good`, `uncertain` or `bad`.
            key: Tells this reading from others of the same value; one is made without it.
        """
        self._send(calls.derive(device, property, value, time=time, quality=quality, key=key))

    def methods(self, device: str) -> list[Method]:
        """Say what can be called at a device."""
        return self._send(calls.methods(device))

    def call(self, device: str, method: str, /, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - as its schema says
        """Call a method and give its results by name."""
        return self._send(calls.call(device, method, arguments))

    def history(
        self,
        device: str,
        property: str,
        start: When,
        end: When | None = None,
        *,
        limit: int = 1000,
    ) -> list[PropertyValue]:
        """Give what was read since `start` and before `end`, oldest first."""
        return self._send(calls.history(device, property, start, end, limit))

    def spans(
        self,
        device: str,
        property: str,
        start: When,
        end: When | None = None,
        *,
        step: float,
        function: str = "mean",
        limit: int = 1000,
    ) -> list[Span]:
        """Give the past downsampled to intervals of `step` seconds.

        Args:
            device: NAMESPACE/NAME.
            property: Its name.
            start: From when on.
            end: Until when; now without it.
            step: Seconds of one interval.
            function: `min`, `max`, `mean` or `last`.
            limit: Most intervals.
        """
        return self._send(
            calls.spans(device, property, start, end, step=step, function=function, limit=limit)
        )

    def targets(self) -> list[Target]:
        """Say where readings are delivered to, and how that goes."""
        return self._send(calls.targets())

    def gaps(self, *, target: str = "", device: str = "", namespace: str = "") -> list[Gap]:
        """Say which readings were lost on their way to which target; newest first."""
        found: list[Gap] = []
        after = ""
        while True:
            page = self._send(
                calls.gaps(target=target, device=device, namespace=namespace, after=after)
            )
            found += page.items
            if not (after := page.after):
                return found

    def ready(self) -> None:
        """Return when the mapper serves.

        Raises:
            UnavailableError: It does not, and why.
        """
        self._send(calls.ready())

    def changes(
        self,
        *,
        device: str = "",
        namespace: str = "",
        labels: str = "",
        properties: Iterable[str] = (),
        kinds: Iterable[str] = (),
        after: str = "",
    ) -> Iterator[Change]:
        """Give what happens, for ever; a broken connection is resumed without loss.

        Where that cannot be, there is a change of the kind `gap`.

        Args:
            device: Only of this device, NAMESPACE/NAME.
            namespace: Only of the devices in it.
            labels: Only of the devices that this selector fits.
            properties: Only of properties with these names.
            kinds: Only these: `readings`, `state`, `outcome`, `event`.
            after: `id` of the last change known; from now on without it.
        """
        wanted = stream_params(device, namespace, labels, properties, kinds)
        parser, failures = EventParser(after), 0
        while True:
            try:
                for change in self._stream(parser, wanted):
                    failures = 0
                    yield change
            except UnavailableError:
                if not parser.last_id:
                    raise
            time.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    def _stream(self, parser: EventParser, params: Mapping[str, str]) -> Iterator[Change]:
        headers = {"accept": "text/event-stream"}
        parser.begin()
        if parser.last_id:
            headers["last-event-id"] = parser.last_id
        patience = httpx.Timeout(self._server.timeout, read=SILENCE)
        with (
            self._server.translated(),
            self._http.stream(
                "GET", "/api/v1/changes", params=params, headers=headers, timeout=patience
            ) as answer,
        ):
            if answer.is_error:
                raise from_problem(answer.status_code, answer.read())
            self._server.check_stream(answer)
            for piece in answer.iter_bytes():
                yield from parser.changes(piece)

    def _send(self, call: Call[T]) -> T:
        request = self._server.request(call)
        attempts = ATTEMPTS if call.repeatable else 1
        with self._server.translated():
            for attempt in range(1, attempts + 1):
                try:
                    answer = self._http.request(**request)
                    break
                except (httpx.NetworkError, httpx.RemoteProtocolError):
                    if attempt == attempts:
                        raise
                time.sleep(PAUSES[attempt - 1])
        return self._server.result(call, answer)
