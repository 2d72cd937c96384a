import asyncio
import json
import threading
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    DmiError,
    NotFoundError,
    UnavailableError,
)
from dmi.manifests import parse_manifests
from dmi.rest.problem import MEDIA_TYPE, to_problem
from dmi_cli.main import main


@dataclass
class ManagerDouble:
    """Answers like a manager, from plain dicts that a test fills; remembers what was asked."""

    objects: dict[str, dict] = field(default_factory=lambda: {"devices": {}, "models": {}})
    twins: list[dict] = field(default_factory=list)
    mappers: list[dict] = field(default_factory=list)
    outcome: dict = field(default_factory=lambda: {"status": "pending"})
    later: list = field(default_factory=list)
    mistakes: list = field(default_factory=list)
    methods: dict = field(default_factory=lambda: {"items": [], "complete": True})
    commands: list[dict] = field(default_factory=list)
    progress: list[dict] = field(default_factory=list)
    streams: list[list[str]] = field(default_factory=list)
    asked: list[tuple[str, str, object]] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    outages: int = 0
    password: str = ""
    status: dict = field(default_factory=lambda: {"ready": True})
    broken: bool = False
    page: int = 2
    url: str = ""

    def app(self) -> Starlette:
        one = "/api/v1/{kind:str}/{ns}/{name}"
        routes = [
            Route("/api/v1/twins", self.list_twins),
            Route("/api/v1/mappers", self.list_mappers),
            Route("/api/v1/changes", self.changes),
            Route("/api/v1/status", self.tell_status),
            Route("/api/v1/commands", self.list_commands),
            Route("/api/v1/commands/{id}", self.command, methods=["GET", "DELETE"]),
            Route(f"{one}/methods", self.list_methods),
            Route(f"{one}/methods/{{method}}", self.call, methods=["POST"]),
            Route("/api/v1/apply", self.apply, methods=["POST"]),
            Route(f"{one}/twins", self.device_twins),
            Route(f"{one}/twins/{{prop}}", self.device_twins),
            Route(f"{one}/twins/{{prop}}/desired", self.desire, methods=["PUT", "DELETE"]),
            Route(one, self.one, methods=["GET", "DELETE"]),
            Route("/api/v1/{kind}", self.everything),
            Route("/html", lambda _: PlainTextResponse("<html>")),
        ]
        return Starlette(routes=routes, exception_handlers={DmiError: self.refuse})

    async def refuse(self, _: Request, error: DmiError) -> Response:
        return JSONResponse(to_problem(error), error.http_status, media_type=MEDIA_TYPE)

    async def note(self, request: Request) -> None:
        body = await request.body()
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.asked.append((request.method, path, json.loads(body) if body else None))
        if self.password and request.headers.get("authorization") != f"Bearer {self.password}":
            raise AccessDeniedError("a token is needed")

    async def tell_status(self, request: Request) -> Response:
        await self.note(request)
        if not self.status:
            raise NotFoundError("nothing here")
        return JSONResponse(self.status)

    async def list_methods(self, request: Request) -> Response:
        await self.note(request)
        return JSONResponse(self.methods)

    async def call(self, request: Request) -> Response:
        """Each of `progress` is what one look at the command shows, the last one for ever."""
        await self.note(request)
        self.keys.append(request.headers.get("idempotency-key"))
        if self.outages:
            self.outages -= 1
            raise UnavailableError("not now")
        self.commands.append(
            {
                "id": "c1",
                "namespace": request.path_params["ns"],
                "device": request.path_params["name"],
                "method": request.path_params["method"],
                "arguments": (await request.json())["arguments"],
                "phase": "accepted",
                "percent": 0,
                "reason": "",
                "message": "",
                "results": {},
                "caller": "test",
                "mapper": "",
                "cancelling": False,
                "created": "2026-01-01T00:00:00.000Z",
                "deadline": "2026-01-01T00:00:30.000Z",
                "started": None,
                "ended": None,
            }
        )
        return self.look(self.commands[-1])

    def look(self, command: dict) -> Response:
        if self.progress:
            command.update(self.progress.pop(0))
        return JSONResponse(command)

    async def list_commands(self, request: Request) -> Response:
        await self.note(request)
        query = request.query_params
        found = [
            one
            for one in self.commands
            if query.get("device") in {None, one["device"]}
            and query.get("namespace") in {None, one["namespace"]}
        ]
        return JSONResponse({"items": found})

    async def command(self, request: Request) -> Response:
        await self.note(request)
        if self.outages:
            self.outages -= 1
            raise UnavailableError("not now")
        found = [one for one in self.commands if one["id"] == request.path_params["id"]]
        if not found:
            raise NotFoundError("there is no such command")
        if request.method == "DELETE":
            found[0]["phase"] = "cancelled"
        return self.look(found[0])

    async def everything(self, request: Request) -> Response:
        await self.note(request)
        wanted = request.query_params.get("namespace")
        items = self.objects[request.path_params["kind"]].values()
        found = [
            item for item in items if wanted in {None, item["metadata"].get("namespace", "default")}
        ]
        return JSONResponse({"items": found})

    async def one(self, request: Request) -> Response:
        await self.note(request)
        kind = request.path_params["kind"]
        key = f"{request.path_params['ns']}/{request.path_params['name']}"
        if key not in self.objects[kind]:
            raise NotFoundError(f"there is no {kind} {key}")
        if request.method == "DELETE":
            del self.objects[kind][key]
            return Response(status_code=204)
        return JSONResponse(self.objects[kind][key])

    async def list_twins(self, request: Request) -> Response:
        await self.note(request)
        start = int(request.query_params.get("continue") or 0)
        wanted = request.query_params.get("namespace")
        found = [twin for twin in self.twins if wanted in {None, twin["namespace"]}]
        end = start + self.page
        more = str(end) if end < len(found) else ""
        return JSONResponse({"items": found[start:end], "continue": more})

    async def list_mappers(self, request: Request) -> Response:
        await self.note(request)
        return JSONResponse({"items": self.mappers})

    def of(self, request: Request) -> list[dict]:
        path = request.path_params
        found = [
            twin
            for twin in self.twins
            if (twin["namespace"], twin["device"]) == (path["ns"], path["name"])
            and path.get("prop") in {None, twin["property"]}
        ]
        if not found:
            raise NotFoundError(f"there is no {path}")
        return found

    async def device_twins(self, request: Request) -> Response:
        await self.note(request)
        found = self.of(request)
        if self.later and "prop" in request.path_params and found[0]["desired"]:
            found[0]["desired"] = self.later.pop(0)
        return JSONResponse(found[0] if "prop" in request.path_params else {"items": found})

    async def desire(self, request: Request) -> Response:
        await self.note(request)
        (twin,) = self.of(request)
        if twin["access"] == "ReadOnly":
            raise AccessDeniedError("the property is ReadOnly", device="default/boiler")
        if request.method == "DELETE":
            return JSONResponse({**twin, "desired": None})
        value = (await request.json())["value"]
        twin["desired"] = {"value": value, "version": 7, **self.outcome}
        return JSONResponse(twin, 202)

    async def apply(self, request: Request) -> Response:
        await self.note(request)
        manifests, wrong = parse_manifests(await request.body(), "request")
        applied = []
        for manifest in manifests:
            kind = "devices" if manifest.kind == "Device" else "models"
            self.objects[kind][str(manifest.key)] = manifest.object.to_json()
            applied.append({"kind": manifest.kind, **manifest.key._asdict(), "result": "created"})
        mistakes = [mistake.to_json() for mistake in wrong] + self.mistakes
        answer = {"applied": applied, "mistakes": mistakes}
        if self.broken:
            answer = to_problem(ConfigError("the body is no good"))
        return JSONResponse(answer, 422 if mistakes or self.broken else 200)

    async def changes(self, request: Request) -> Response:
        await self.note(request)
        self.resumed.append(request.headers.get("last-event-id", ""))
        frames = self.streams.pop(0) if self.streams else None

        async def stream():
            for frame in frames or []:
                yield frame
            if frames is None:
                await asyncio.Event().wait()

        return StreamingResponse(stream(), media_type="text/event-stream")


class AnnouncingServer(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config):
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture(scope="session")
def manager_server():
    double = ManagerDouble()
    config = uvicorn.Config(
        double.app(), port=0, log_level="critical", timeout_graceful_shutdown=0, ws="none"
    )
    server = AnnouncingServer(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.listening.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield double, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def manager(manager_server, monkeypatch):
    """A manager that knows nothing yet, and is the one that `dmi` asks."""
    double, url = manager_server
    vars(double).update(vars(ManagerDouble(url=url)))
    monkeypatch.setenv("DMI_SERVER", url)
    monkeypatch.delenv("DMI_TOKEN_FILE", raising=False)
    return double


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def dmi(capsys):
    """Run one command line in this process."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(int(code), captured.out, captured.err)

    return run


def twin(prop, **fields):
    return {
        "namespace": "default",
        "device": "boiler",
        "property": prop,
        "type": "FLOAT",
        "unit": "°C",
        "access": "ReadWrite",
        "desired": None,
        "reported": None,
        "age_s": None,
        **fields,
    }


@pytest.fixture
def boiler(manager):
    """A manager that knows one boiler."""
    manager.objects["devices"]["default/boiler"] = {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": "boiler", "namespace": "default", "labels": {"hall": "2"}},
        "spec": {
            "deviceModelRef": {"name": "boiler-model"},
            "nodeName": "edge-node",
            "protocol": {"protocolName": "modbus", "configData": {"ip": "10.0.0.1", "port": 502}},
            "properties": [
                {
                    "name": "temperature",
                    "collectCycle": 500,
                    "visitors": {"configData": {"register": "InputRegister"}},
                }
            ],
            "methods": [{"name": "fire", "propertyNames": ["setpoint"]}],
        },
        "status": {
            "state": "online",
            "reason": "",
            "message": "",
            "since": "2026-01-01T00:00:00.000Z",
            "lastOnlineTime": "2026-01-01T00:00:00.000Z",
            "mapper": "modbus-mapper/0",
            "problem": "",
        },
    }
    manager.objects["models"]["default/boiler-model"] = {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": {"name": "boiler-model"},
        "spec": {
            "protocol": "modbus",
            "protocolConfigData": {"timeout": 2},
            "properties": [
                {"name": "temperature", "type": "FLOAT", "unit": "°C"},
                {"name": "setpoint", "type": "FLOAT", "accessMode": "ReadWrite", "maximum": "95"},
            ],
        },
    }
    manager.twins = [
        twin(
            "temperature",
            access="ReadOnly",
            reported={
                "value": 71.5,
                "time": "2026-01-01T00:00:00.000Z",
                "quality": "good",
                "reason": "",
            },
        ),
        twin("setpoint", desired={"value": 80.0, "version": 1, "status": "confirmed"}),
        twin("burner", type="BOOLEAN", unit=""),
        twin("heat", namespace="other", device="kiln"),
    ]
    manager.mappers = [
        {
            "name": "modbus-mapper",
            "instance": "0",
            "protocol": "modbus",
            "version": "0.1.0",
            "api": "v1",
            "address": "",
            "alive": True,
            "lastSeen": "2026-01-01T00:00:00.000Z",
            "abilities": ["write"],
            "devices": 1,
        }
    ]
    return manager
