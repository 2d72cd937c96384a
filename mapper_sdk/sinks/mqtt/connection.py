"""One connection to a broker by paho: many publishes in flight, each acknowledged or named.

paho has a thread of its own. Its callbacks say `_on_...` and run there; everything else runs in
the event loop.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from dmi.errors import (
    ConfigError,
    DeadlineError,
    DmiError,
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from dmi.secret_refs import read_secret
from mapper_sdk.sinks.mqtt.flight import FAILED, InFlight, Message
from mapper_sdk.sinks.mqtt.settings import BrokerSettings, parse_address
from mapper_sdk.sinks.tls import Tls, dialling_error, make_context

__all__ = ["Connection", "Received"]

_V5: Final = MQTTProtocolVersion.MQTTv5
_V311: Final = MQTTProtocolVersion.MQTTv311
_VERSIONS: Final = {"auto": _V5, "5": _V5, "3.1.1": _V311}
_GOODBYE_SECONDS: Final = 1.0
_HEADER: Final = 16  # most bytes of a PUBLISH besides topic, properties and payload

_NO_SUCH_VERSION: Final = 0x84  # reason codes of MQTT 5; paho gives those of 3.1.1 as these
_NEVER: Final = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C})  # client id, login, not allowed, banned

Received = Callable[[str, bytes], None]
"""Takes topic and payload of a message. Called in paho's thread: it returns at once."""


class Connection:
    """A connection that can be opened again, with what was in flight when it broke.

    The broker's session is kept where it can be (MQTT 5, or a client id of one's own): a
    message of QoS 2 that was in flight is then taken up where it was, when it is published
    again, and arrives once.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        in_flight: int = 20,
        session_expiry: int = 0,
        timeout: float = 10.0,
        topics: Sequence[tuple[str, int]] = (),
        received: Received | None = None,
        lost: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            settings: The broker.
            in_flight: Publishes of QoS 1 and 2 on the wire at a time.
            session_expiry: Seconds that an MQTT 5 broker keeps the session.
            timeout: Seconds without any acknowledgement after which `publish` gives up.
            topics: Filters to subscribe to at each opening, with their QoS.
            received: Gets what arrives there.
            lost: Called when the connection has ended, also by `close`.
        """
        self._settings = settings
        self._in_flight, self._session_expiry, self._timeout = in_flight, session_expiry, timeout
        self._topics, self._received, self._when_lost = list(topics), received, lost
        self._client_id = settings.client_id or f"dmi-{secrets.token_hex(8)}"
        self._protocol = _VERSIONS[settings.version]
        self._known = settings.version != "auto"  # which version the broker speaks
        self._clean = True  # version 3.1.1: begin with an empty session
        self._client: Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answer: asyncio.Future[ReasonCode | None] | None = None
        self._gone, self._wake = asyncio.Event(), asyncio.Event()
        self._broken = "it is not open"
        self._largest: int | None = None
        self._flight = InFlight()

    @property
    def broken(self) -> str:
        """Why it cannot be used now; empty while it can."""
        return self._broken

    @property
    def speaks_5(self) -> bool:
        """Whether messages may have properties; certain once it was open."""
        return self._protocol == _V5

    # --------------------------------------------------------------- open ----

    async def open(self, will: Message | None = None) -> None:
        """Connect, log in, subscribe.

        Args:
            will: What the broker publishes when the connection breaks.

        Raises:
            UnavailableError: Nobody answers, or not in time.
            ConfigError: Wrong certificate or password, or no right to subscribe.
        """
        self._loop = asyncio.get_running_loop()
        if not self._known:
            self._protocol, self._client = _V5, None  # a hang-up may have had other causes
        reason = await self._dial(will)
        if not self._known and (reason is None or reason.value == _NO_SUCH_VERSION):
            self._protocol, self._client = _V311, None
            reason = await self._dial(will)
        if reason is not None and reason.value < FAILED and self._must_clear:
            # An earlier process may have left numbers in this session that we shall use anew.
            await self.close()
            self._client, self._clean = None, False
            reason = await self._dial(will)
        if reason is None:
            raise UnavailableError("the broker hung up before it answered")
        if reason.value >= FAILED:
            await self._drop()
            kind = ConfigError if reason.value in _NEVER else UnavailableError
            raise kind(f"the broker refuses the connection: {reason}")
        self._known = True

    @property
    def _must_clear(self) -> bool:
        """Whether this was the first connection, only made to clear the session of 3.1.1."""
        return not self.speaks_5 and self._clean and bool(self._settings.client_id)

    async def _dial(self, will: Message | None) -> ReasonCode | None:
        """Connect once; None if the broker hung up without an answer to CONNECT."""
        if self._client is None:
            self._client = await asyncio.to_thread(self._make_client)
        client = self._client
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retained)
        self._gone.clear()
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await asyncio.to_thread(self._connect, client)
        except OSError as error:
            raise dialling_error(error, "the broker") from error
        except asyncio.CancelledError:
            self._client = None  # a thread is still connecting it
            raise
        self._broken = ""
        client.loop_start()
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                reason = await self._answer
        except TimeoutError:
            await self._drop()
            raise DeadlineError("the broker does not answer the request to connect") from None
        if reason is None:
            await self._drop()
        return reason

    def _make_client(self) -> Client:
        settings = self._settings
        address = parse_address(settings.address)
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            # Version 5 has the session's expiry instead.
            clean_session=None if self.speaks_5 else self._clean,
            protocol=self._protocol,
            transport=address.transport,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_timeout
        client.max_inflight_messages_set(self._in_flight)
        if settings.username:
            client.username_pw_set(settings.username)
        if address.tls:
            client.tls_set_context(make_context(settings.tls or Tls()))
        if address.transport == "websockets":
            client.ws_set_options(path=address.path)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        properties = None
        if self.speaks_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._session_expiry
        # Only kept in mind; `connect` itself would begin a new session each time.
        client.connect_async(address.host, address.port, settings.keep_alive, properties=properties)
        return client

    def _connect(self, client: Client) -> None:
        settings = self._settings
        if settings.password and settings.username:
            # Read at each opening: it may have been changed.
            client.username_pw_set(settings.username, read_secret(settings.password))
        client.reconnect()

    # ------------------------------------------------------------ publish ----

    async def publish(self, messages: Sequence[Message]) -> list[DmiError | None]:
        """Publish all and return when the broker has answered for each.

        A message of QoS 0 counts as taken when it was written to the socket. What was in
        flight when the connection broke, and is published again, is not sent twice.

        Returns:
            An error for each message that was not taken, in order.

        Raises:
            UnavailableError: The connection is broken; nothing was published.
        """
        if self._client is None or self._broken:
            raise UnavailableError(f"the connection to the broker is broken: {self._broken}")
        self._wake.clear()
        self._flight.begin(messages)
        try:
            while self._pump(self._in_flight):  # noqa: ASYNC110 - gives way, waits for nothing
                await asyncio.sleep(0)
            problem = await self._settle()
        except asyncio.CancelledError:
            self._flight.outcomes(UnavailableError("given up"))
            raise
        return self._flight.outcomes(problem)

    def fire(self, messages: Sequence[Message]) -> None:
        """Publish with QoS 0 and do not wait; what cannot be sent is lost."""
        if self._client is not None and not self._broken:
            for message in messages:
                self._client.publish(message.topic, message.payload)

    def _pump(self, most: int) -> bool:
        """Publish while the window has room, in either thread; see `InFlight.pump`."""
        stopped = self._flight.pump(self._start, self._in_flight, most)
        if not self._flight.remaining:
            self.call_in_loop(self._wake.set)
        return stopped

    def _start(self, message: Message) -> int | DmiError:
        client = self._client
        if client is None:
            return UnavailableError("the broker hung up")
        size = len(message.payload) + len(message.topic) * 3 + _HEADER
        if self._largest is not None and size > self._largest:
            return TooLargeError(f"the broker takes no message above {self._largest} bytes")
        properties = message.properties if self.speaks_5 else None
        topic, payload, qos = message.topic, message.payload, message.qos
        try:
            info = client.publish(topic, payload, qos, message.retained, properties)
        except ValueError as error:
            return RefusedError(f"topic {topic!r}: {error}")
        if info.rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            return OverloadedError("too many messages are in flight")
        if info.rc is MQTTErrorCode.MQTT_ERR_NO_CONN and not qos:
            return UnavailableError("the broker hung up")
        return info.mid

    async def _settle(self) -> DmiError:
        """Wait until all is acknowledged or nothing more will be; say why not."""
        before = -1
        while not self._broken and self._flight.remaining != before:
            before = self._flight.remaining
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await self._wake.wait()
                    break
        if self._broken or not self._flight.remaining:
            return UnavailableError(f"the broker hung up: {self._broken}")
        self._broken = "it acknowledges nothing"
        return DeadlineError(f"the broker acknowledged nothing for {self._timeout:g} s")

    # -------------------------------------------------------------- close ----

    async def close(self, farewell: Message | None = None) -> None:
        """Say goodbye where that is possible, and let the connection go.

        Args:
            farewell: Published before, since the broker sends no last will after a goodbye.
        """
        client = self._client
        if client is None or client.socket() is None:
            await self._drop()
            return
        if not self._broken and not self._flight.remaining:
            if farewell is not None:
                client.publish(farewell.topic, farewell.payload, farewell.qos, farewell.retained)
            client.disconnect()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await self._gone.wait()
        await self._drop()

    async def _drop(self) -> None:
        """Cut the connection, so that paho's thread ends, and wait for that."""
        self._broken = self._broken or "it is closed"
        client = self._client
        if client is None:
            return
        held = client.socket()
        if held is not None:
            # Whatever is around the socket: this wakes the thread, which then closes it.
            with contextlib.suppress(OSError, ValueError):
                copy = socket.socket(fileno=os.dup(held.fileno()))
                with contextlib.closing(copy):
                    copy.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(client.loop_stop)
        # loop_start makes a new pair of sockets each time and closes none of them.
        client._reset_sockets(sockpair_only=True)

    # ------------------------------------------------- in paho's own thread ----

    def _on_connect(
        self,
        client: Client,
        _data: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if not flags.session_present:
            # The broker knows nothing of what was in flight: all of that is published anew.
            client.drop_out_messages()
            self._flight.forget()
        self._largest = getattr(properties, "MaximumPacketSize", None)
        if reason.value < FAILED and self._topics:
            client.subscribe(self._topics)
        else:
            self.call_in_loop(self._answered, reason)

    def _on_subscribe(
        self,
        _client: Client,
        _data: object,
        _number: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self.call_in_loop(self._answered, max(reasons, key=lambda reason: reason.value))

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.call_in_loop(self._lost, str(reason))

    def _on_publish(
        self,
        _client: Client,
        _data: object,
        number: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._flight.acknowledged(number, reason.value)
        self._pump(sys.maxsize)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if self._received is not None:
            self._received(message.topic, bytes(message.payload))

    def call_in_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        """From paho's thread: call this in the event loop, soon."""
        # After the end of the event loop there is nobody to tell.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback, *arguments)

    # --------------------------------------------------- told by the thread ----

    def _answered(self, reason: ReasonCode) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reason)

    def _lost(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
        self._broken = self._broken or reason
        self._gone.set()
        self._wake.set()
        if self._when_lost is not None:
            self._when_lost()
