"""A real MQTT broker, plain, with TLS, with users, over WebSockets; and somebody who listens."""

import contextlib
import getpass
import os
import signal
import threading
import time

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.servers.certificates import make_certificates
from tests.servers.process import ServerProcess, free_port

USER, PASSWORD = "mapper", "wine and roses"
_PATIENCE = 15.0


class Watcher:
    """Subscribes to everything; its session outlives the broker's death.

    With QoS 0, as it acknowledges nothing: what the dead broker has sent still arrives.

    Attributes:
        messages: What came, as paho's messages, oldest first.
    """

    def __init__(self, port, name="watcher"):
        self.port = port
        self.messages = []
        self._subscribed = threading.Event()
        self._gone = threading.Event()
        self._gone.set()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.on_message = lambda _client, _data, message: self.messages.append(message)
        client.on_connect = lambda *_: client.subscribe("#", qos=0)
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_disconnect = lambda *_: self._gone.set()

    def connect(self):
        # What the dead broker has sent may still be unread.
        assert self._gone.wait(_PATIENCE)
        self.disconnect()
        self._subscribed.clear()
        self._gone.clear()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", self.port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._subscribed.wait(_PATIENCE)

    def disconnect(self):
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()

    def publish(self, topic, payload, **settings):
        self._client.publish(topic, payload, **settings)

    def of(self, topic):
        return [message for message in list(self.messages) if message.topic == topic]


class Mosquitto(ServerProcess):
    """A broker that listens in every way, and knows USER with PASSWORD.

    Attributes:
        tls_port: Wants TLS and a client's certificate.
        user_port: Wants a login.
        websocket_port: Plain WebSockets.
        unix_socket: A path.
        certificates: Of the server, and one for a client.
        watcher: Has subscribed to all of it, also when the broker has just been started again.
    """

    binary = "mosquitto"
    listens_on = "127.0.0.1"

    def prepare(self):
        self.tls_port, self.user_port, self.websocket_port = (free_port() for _ in range(3))
        self.unix_socket = self.folder / "m.sock"
        self.certificates = files = make_certificates(self.folder)
        self.run(self.find("mosquitto_passwd"), "-c", "-b", self.folder / "users", USER, PASSWORD)
        self.write(
            "acl", f"user {USER}\ntopic readwrite dmi/#\ntopic readwrite \\$SYS/broker/version\n"
        )
        self.write(
            "mosquitto.conf",
            f"""
user {getpass.getuser()}
per_listener_settings true
persistence true
persistence_location {self.folder}/
autosave_interval 0
max_queued_messages 0
queue_qos0_messages true
max_inflight_messages 0

listener {self.port} {self.listens_on}
allow_anonymous true

listener {self.websocket_port} 127.0.0.1
protocol websockets
allow_anonymous true

listener 0 {self.unix_socket}
allow_anonymous true

listener {self.tls_port} 127.0.0.1
allow_anonymous true
require_certificate true
cafile {files.authority}
certfile {files.server}
keyfile {files.server_key}

listener {self.user_port} 127.0.0.1
allow_anonymous false
password_file {self.folder}/users
acl_file {self.folder}/acl
""",
        )
        self.watcher = Watcher(self.port)

    def command(self):
        return [self.program, "-c", str(self.folder / "mosquitto.conf")]

    def launch(self):
        if self.running:
            return
        super().launch()
        self.watcher.connect()
        self._save()

    def __exit__(self, *exception):
        if hasattr(self, "watcher"):
            self.watcher.disconnect()
        super().__exit__(*exception)

    def _save(self):
        """Make the broker write its sessions down, as it does now and then by itself."""
        file = self.folder / "mosquitto.db"
        file.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + _PATIENCE
        while not file.exists() or not file.stat().st_size:
            assert time.monotonic() < deadline, self.log
            with contextlib.suppress(OSError):
                time.sleep(0.005)
