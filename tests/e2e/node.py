"""A node on stage: its folder, its programs, and its manager's REST API as a client sees it."""

import contextlib
import json
import re
from urllib.parse import quote

import httpx

from tests.e2e.programs import Program, run, until

VIRTUAL = "mapper_sdk.virtual:VirtualDriver"


class Rest:
    """One REST service of a program, asked anew at each call: it may die at any time."""

    def __init__(self, address):
        """`unix:/PATH` or an URL."""
        uds = address.removeprefix("unix:") if address.startswith("unix:") else None
        transport = httpx.AsyncHTTPTransport(uds=uds)
        base = "http://localhost" if uds else address
        self.http = httpx.AsyncClient(
            transport=transport, base_url=base, timeout=15, trust_env=False
        )

    async def ask(self, verb, path, **more):
        return await self.http.request(verb, path, **more)

    async def get(self, path, **params):
        answer = await self.ask("GET", path, params=params)
        answer.raise_for_status()
        return answer.json()

    async def counts(self):
        """The service's metrics, summed over their labels."""
        text = (await self.ask("GET", "/metrics")).text
        counts = {}
        for name, value in re.findall(r"^(\w+)(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE):
            counts[name] = counts.get(name, 0.0) + float(value)
        return counts


class Manager(Rest):
    """The manager's API in the words of the tests."""

    async def twin(self, device, prop):
        return await self.get(f"/api/v1/devices/default/{device}/twins/{prop}")

    async def twins(self):
        """All twins by "device/property"."""
        items = (await self.get("/api/v1/twins", limit=10_000))["items"]
        return {f"{twin['device']}/{twin['property']}": twin for twin in items}

    async def status(self, device):
        return (await self.get(f"/api/v1/devices/default/{device}"))["status"]

    async def put_desired(self, device, prop, value, wait=0.0):
        path = f"/api/v1/devices/default/{device}/twins/{quote(prop)}/desired"
        return await self.ask("PUT", path, params={"wait": wait}, json={"value": value})

    async def until_reported(self, device, prop, held=bool, seconds=8.0):
        """Wait for a good reported value that fits, and give the twin."""

        async def look():
            with contextlib.suppress(httpx.HTTPError):
                twin = await self.twin(device, prop)
                reported = twin["reported"]
                if reported and reported["quality"] == "good" and held(reported["value"]):
                    return twin
            return None

        return await until(f"{device}/{prop} is reported so", look, seconds)

    async def until_state(self, device, state, reason=None, seconds=8.0):
        """Wait until a device is in a state, and give its status."""
        last = {}

        async def look():
            with contextlib.suppress(httpx.HTTPError):
                last.update(await self.status(device))
                return last["state"] == state and reason in (None, last["reason"])
            return False

        try:
            await until(f"{device} is {state}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None
        return last

    async def until_settled(self, device, prop, status="confirmed", seconds=8.0):
        """Wait until a wish has come so far, and give the twin."""

        async def look():
            with contextlib.suppress(httpx.HTTPError):
                twin = await self.twin(device, prop)
                return twin if (twin["desired"] or {}).get("status") == status else None
            return None

        return await until(f"{device}/{prop} is {status}", look, seconds)


class Stage:
    """Starts programs in one folder, and ends whatever still runs."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "dmi.sock"
        self.api = f"unix:{folder}/api.sock"
        self.data = folder / "data"
        self.devices = folder / "devices"
        self.devices.mkdir()
        self.programs = []
        self.clients = []

    def program(self, name, *words, **variables):
        """Prepare a program; it does not run yet."""
        program = Program(name, words, self.folder, **variables)
        self.programs.append(program)
        return program

    def manager_words(self, *more):
        return (
            *("manager", "--ready-json", "--data-dir", self.data, "--socket", self.socket),
            *("--api", self.api, "--devices", self.devices, *more),
        )

    async def manager(self, *more):
        """Start the manager; give it and its API."""
        program = self.program("manager", *self.manager_words(*more))
        await program.start()
        return program, self.client(Manager, self.api)

    def mapper_words(self, driver, *more):
        return (
            *("mapper", driver, "--ready-json", "--manager-socket", self.socket),
            *("--rest", "127.0.0.1:0", *more),
        )

    async def mapper(self, *more, driver=VIRTUAL, name="mapper"):
        """Start a mapper and wait until it says that it is ready."""
        program = self.program(name, *self.mapper_words(driver, *more))
        await program.start()
        return program

    async def simulator(self, *more, kind="modbus"):
        """Start a simulator; after a restart it is at the same port."""
        words = ("simulate", kind, "--ready-json", "--port")
        program = self.program("simulator", *words, 0, *more)
        port = (await program.start())["port"]
        program.words = [*words, str(port), *map(str, more)]
        return program

    def client(self, kind, address):
        client = kind(address)
        self.clients.append(client)
        return client

    def rest_of(self, mapper):
        """The REST API of a running mapper."""
        return self.client(Rest, mapper.ready["rest"])

    def write(self, name, *objects):
        """Put a device file in place at once, as a careful editor does; JSON is YAML too."""
        text = "\n---\n".join(
            each if isinstance(each, str) else json.dumps(each) for each in objects
        )
        aside = self.folder / f"{name}.tmp"
        aside.write_text(text)
        aside.rename(self.devices / name)
        return self.devices / name

    async def dmi(self, *words):
        """Run one command line against the manager."""
        return await run(*words, folder=self.folder, DMI_SERVER=self.api)

    async def close(self):
        for program in self.programs:
            program.end()
        for client in self.clients:
            await client.http.aclose()


def model(name="tank", protocol="virtual", **properties):
    """`level="INT"`, or all fields; ReadWrite unless told."""
    declared = [
        {"name": prop, "accessMode": "ReadWrite", **({"type": it} if isinstance(it, str) else it)}
        for prop, it in properties.items()
    ]
    return _object("DeviceModel", name, {"protocol": protocol, "properties": declared})


def device(name, of="tank", protocol="virtual", settings=None, cycle=100, **visits):
    """`level={"shape": "counter"}`: visitor settings by property."""
    spec = {
        "deviceModelRef": {"name": of},
        "protocol": {"protocolName": protocol, "configData": settings or {}},
        "stateReport": {"reportToCloud": True},
        "properties": [
            {
                "name": prop,
                "reportToCloud": True,
                "collectCycle": cycle,
                "visitors": {"protocolName": protocol, "configData": visit},
            }
            for prop, visit in visits.items()
        ],
    }
    return _object("Device", name, spec)


def _object(kind, name, spec):
    head = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": kind}
    return head | {"metadata": {"name": name}, "spec": spec}


TANK_MODEL = model(
    level={"type": "INT", "accessMode": "ReadOnly"},
    setpoint={"type": "FLOAT", "minimum": "0", "maximum": "100"},
    label="STRING",
)


def tank(name="tank", **more):
    """A virtual device: a counter, and two properties that remember."""
    more = {"level": {"shape": "counter"}, "setpoint": {}, "label": {"initial": "a"}} | more
    return device(name, **more)


BOILER_MODEL = model(
    "boiler",
    "modbus",
    temperature={"type": "FLOAT", "accessMode": "ReadOnly"},
    setpoint={"type": "FLOAT", "minimum": "20", "maximum": "95"},
    burner="BOOLEAN",
)


def boiler(port, name="boiler", **more):
    """Unit 1 of the simulated plant."""
    settings = {"ip": "127.0.0.1", "port": port, "slaveID": 1, "timeout": 1}
    return device(
        name,
        "boiler",
        "modbus",
        settings,
        temperature={"register": "InputRegister", "offset": 0, "type": "float32"},
        setpoint={"register": "HoldingRegister", "offset": 0, "type": "float32"},
        burner={"register": "CoilRegister", "offset": 0},
        **more,
    )
