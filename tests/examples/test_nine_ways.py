"""The nine ways in and out, all at once: real programs, a real broker, and a machine elsewhere."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers.certificates import make_certificates
from tests.servers.mosquitto import Mosquitto
from tests.servers.process import free_port, missing

EXAMPLES = Path(__file__).parents[2] / "examples"
WAYS = Path("07_nine_ways")
HERE, THERE = "10.213.77.1", "10.213.77.2"
PASSWORD = "over the hills"  # noqa: S105 - opens nothing

pytestmark = [pytest.mark.process, pytest.mark.timeout(90), pytest.mark.xdist_group("nine ways")]


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True)


@contextmanager
def another_machine():
    """A network namespace with a cable to us; gives the words that run a program there."""
    name = f"dmi{os.getpid()}"
    if os.getuid() != 0 or shutil.which("ip") is None:
        missing("another machine is a network namespace: it needs root and iproute2")
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        missing(f"no network namespaces here: {error.stderr.strip()}")
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{HERE}/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{THERE}/24", "dev", f"{name}b")
        ip("-n", name, "link", "set", f"{name}b", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield ("ip", "netns", "exec", name)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


class OpenBroker(Mosquitto):
    """Has a door for other machines too: TLS, and a password."""

    def prepare(self):
        super().prepare()
        self.far_port = free_port()
        self.run(self.find("mosquitto_passwd"), "-c", "-b", self.folder / "far", "app", PASSWORD)
        files = make_certificates(self.folder, addresses=[HERE, THERE])
        with (self.folder / "mosquitto.conf").open("a") as config:
            config.write(
                f"\nlistener {self.far_port} {HERE}\nallow_anonymous false\n"
                f"password_file {self.folder}/far\ncafile {files.authority}\n"
                f"certfile {files.server}\nkeyfile {files.server_key}\n"
            )


class Stage:
    """The folder of examples, with ports of its own, and everything that runs there."""

    def __init__(self, folder, broker, there):
        self.folder, self.broker, self.there = folder, broker, there
        self.files = broker.certificates
        shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
        self.rest, self.app, self.cloud = (free_port() for _ in range(3))
        ports = {"7777": self.rest, "8080": self.app, "8443": self.cloud, "1883": broker.port}
        for file in ("mapper.yaml", "devices.yaml"):
            text = (folder / WAYS / file).read_text()
            for known, own in ports.items():
                text = re.sub(rf"\b{known}\b", str(own), text)
            text = text.replace(f"https://127.0.0.1:{self.cloud}", f"https://{THERE}:{self.cloud}")
            text = text.replace("ca: rest.crt", f"ca: {self.files.authority}")
            (folder / WAYS / file).write_text(text)
        shutil.copy(self.files.server, folder / "rest.crt")
        shutil.copy(self.files.server_key, folder / "rest.key")
        made = self.run("-m", "dmi_cli", "token", "app", "--file", "clients.yaml", "--scope=write")
        (folder / "app.token").write_text(made)
        (folder / "password").write_text(PASSWORD)
        self.cloud_token = secrets.token_hex(16)
        (folder / "cloud.token").write_text(self.cloud_token)

    def _command(self, words, *, there=False):
        return [*(self.there if there else ()), sys.executable, *map(str, words)]

    def run(self, *words, there=False):
        ended = subprocess.run(
            self._command(words, there=there),
            capture_output=True,
            text=True,
            check=False,
            timeout=40,
            cwd=self.folder,
        )
        assert ended.returncode == 0, f"{words}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    @contextmanager
    def running(self, *words, there=False):
        """Give the file that a program prints to."""
        path = self.folder / f"{secrets.token_hex(4)}.out"
        environment = os.environ | {"CLOUD_TOKEN": self.cloud_token}
        with path.open("w") as out:
            process = subprocess.Popen(
                self._command(words, there=there),
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment,
            )
        try:
            yield path
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def lines(path, number, pattern):
    """Wait until a program has printed so many lines like this; give them."""
    end = time.monotonic() + 30
    while len(found := re.findall(pattern, path.read_text(), re.MULTILINE)) < number:
        assert time.monotonic() < end, path.read_text()
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with ExitStack() as stack:
        there = stack.enter_context(another_machine())
        broker = stack.enter_context(OpenBroker())
        stage = Stage(tmp_path_factory.mktemp("ways"), broker, there)
        mapper = ("-m", "dmi_cli", "mapper", "01_own_driver:KettleDriver")
        log = stack.enter_context(stage.running(*mapper, "--config", WAYS / "mapper.yaml"))
        lines(log, 1, r"serving REST on (\S+)")
        end = time.monotonic() + 20
        while not (stage.folder / "readings.db").exists():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield stage


def asking(stage, address):
    ca = ("--ca", stage.files.authority)
    return ("--url", f"https://{address}:{stage.rest}", *ca)


def test_1_an_app_on_the_node_asks(stage):
    said = stage.run(WAYS / "pull.py", *asking(stage, "127.0.0.1"))
    assert re.fullmatch(r"[\d.]+ s ago [\d.]+ °C, and now [\d.]+ °C\n", said)


def test_2_an_app_elsewhere_asks(stage):
    said = stage.run(WAYS / "pull.py", *asking(stage, HERE), there=True)
    assert re.fullmatch(r"[\d.]+ s ago [\d.]+ °C, and now [\d.]+ °C\n", said)


def test_3_posted_to_an_app_on_the_node(stage):
    with stage.running(WAYS / "receive.py", "--listen", f"127.0.0.1:{stage.app}") as out:
        path, body = lines(out, 3, r"^(/\S*) (.*)$")[-1]
    (*_, last) = json.loads(body)
    assert (path, last["device"], last["property"]) == ("/readings", "kettle", "temperature")
    assert last["quality"] == "good"


def test_4_posted_to_an_app_elsewhere(stage):
    with stage.running(
        WAYS / "receive.py",
        *("--listen", f"{THERE}:{stage.cloud}", "--token-file", "cloud.token"),
        *("--certificate", stage.files.server, "--key", stage.files.server_key),
        there=True,
    ) as out:
        found = lines(out, 3, r"^(/plant/default/kettle) (.*)$")
    sent = json.loads(found[0][1])
    assert (sent["namespace"], sent["device"]) == ("default", "kettle")
    # It was away until now: what was read before has waited for it.
    first = min(reading["time"] for _, body in found for reading in json.loads(body)["readings"])
    assert first < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))


def test_5_in_a_database(stage):
    rows = stage.run(WAYS / "query.py").splitlines()
    assert len(rows) == 5
    assert all(re.match(r"2\S+Z (temperature|setpoint|average) [\d.]+ °C$", row) for row in rows)


def test_6_and_7_pushed_to_a_broker_and_heard_on_the_node(stage):
    broker = ("--broker", f"127.0.0.1:{stage.broker.port}")
    said = stage.run(WAYS / "subscribe.py", *broker, "--count", "2").splitlines()
    topic, _, body = said[-1].partition(" ")
    assert topic == "plant/kettle/temperature"
    assert json.loads(body)["property"] == "temperature"


def test_8_heard_at_the_broker_from_elsewhere(stage):
    broker = (
        "--broker",
        f"{HERE}:{stage.broker.far_port}",
        "--ca",
        stage.broker.folder / "authority.pem",
    )
    login = ("--user", "app", "--password-file", "password")
    said = stage.run(WAYS / "subscribe.py", *broker, *login, "--count", "2", there=True)
    assert len(re.findall("^plant/kettle/temperature ", said, re.MULTILINE)) == 2


def test_9_worked_out_by_an_app_and_handed_in(stage):
    address = asking(stage, "127.0.0.1")
    said = stage.run(WAYS / "derive.py", *address, "--count", "2").splitlines()
    when, value = said[-1].split()
    known = stage.run(
        "-c",
        "import sys; from pathlib import Path; from mapper_sdk.client import Client\n"
        "url, ca = sys.argv[1:]\n"
        "with Client(url, ca=Path(ca), token_file=Path('app.token')) as mapper:\n"
        "    found = mapper.read('kettle', 'average'); print(found.time.isoformat(), found.value)",
        *address[1::2],
    )
    assert known.split() == [when, value]


def test_9_or_published_at_the_broker(stage):
    topic, body = "dmi/derived/default/kettle/average", '{"value": 77.5}'
    stage.broker.watcher.publish(topic, body, qos=1)
    query = (
        "-c",
        "import sqlite3; print(sqlite3.connect('readings.db').execute("
        "\"SELECT count(*) FROM readings WHERE property = 'average' AND value = 77.5\""
        ").fetchone()[0])",
    )
    end = time.monotonic() + 20
    while stage.run(*query).strip() == "0":
        assert time.monotonic() < end
        time.sleep(0.1)
