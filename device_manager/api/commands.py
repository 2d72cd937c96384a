"""Routes of methods and commands: what can be called, calling it, and what became of calls."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias

import orjson
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from device_manager.api import schemas
from device_manager.api.answers import Json
from device_manager.api.context import Api, Continue, Limit, TheApi, page
from device_manager.commands.records import CommandRecord, command_view
from device_manager.views import Json as View
from dmi.errors import ConfigError, MalformedError, NotFoundError
from dmi.feed import Reader
from dmi.methods import Method
from dmi.reports import Phase
from dmi.resources import Device
from dmi.rest.body import read_body
from dmi.rest.guard import IDENTITY
from dmi.rest.identity import LOCAL, Identity

__all__ = ["LARGEST_CALL", "router"]

LARGEST_CALL: Final = 256 * 1024
LONGEST_WAIT: Final = 30.0
_USUAL_WAIT: Final = 10.0
_USUAL_DEADLINE: Final = 30.0
_LONGEST_DEADLINE: Final = 24 * 3600.0
_LONGEST_KEY: Final = 255
_LONGEST_CALLER: Final = 120

Wait: TypeAlias = Annotated[
    float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait until the call has ended.")
]
Deadline: TypeAlias = Annotated[
    float,
    Query(
        gt=0,
        le=_LONGEST_DEADLINE,
        description="Seconds within which the call must begin; it expires after that.",
    ),
]
Key: TypeAlias = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=_LONGEST_KEY,
        description="The same key gives the same command, instead of a second one.",
    ),
]

router = APIRouter(prefix="/api/v1", tags=["commands"], responses=schemas.PROBLEMS)


@router.get("/devices/{namespace}/{name}/methods", responses=schemas.METHODS)
async def list_methods(api: TheApi, namespace: str, name: str) -> Response:
    """List what can be called: methods declared in the Device, and the device's own.

    `complete` is false while no mapper has said what the device itself offers.
    """
    device = api.device(namespace, name)
    methods = api.dmi.methods
    items = [_method_view(one, "declared") for one in methods.declared(device)]
    items += [_method_view(one, "device") for one in methods.own(device)]
    complete = methods.knows(device.key) or _has_no_own(api, device)
    return Json({"items": items, "complete": complete})


@router.post(
    "/devices/{namespace}/{name}/methods/{method:path}",
    responses={**schemas.COMMAND, 202: schemas.COMMAND[200]},
    openapi_extra=schemas.CALL_BODY,
)
async def call_method(
    api: TheApi,
    request: Request,
    namespace: str,
    name: str,
    method: str,
    wait: Wait = _USUAL_WAIT,
    deadline: Deadline = _USUAL_DEADLINE,
    key: Key = "",
) -> Response:
    """Call a method: 200 once that has ended, whatever the end; 202 while it is on its way."""
    device = api.device(namespace, name)
    given = await _arguments(request)
    arguments = api.dmi.methods.check(device, method, given, complete=_has_no_own(api, device))
    with api.node.feed.reader() as reader:
        record = await api.node.commands.submit(
            device.key, method, arguments, deadline, caller=_caller(request), key=_own(request, key)
        )
        record = await _ended(api, reader, record, wait)
    status = HTTPStatus.OK if record.phase.is_final else HTTPStatus.ACCEPTED
    place = {"Location": f"/api/v1/commands/{record.id}"}
    return Json(command_view(record), status, headers=place)


@router.get("/commands", responses=schemas.COMMANDS)
async def list_commands(
    api: TheApi,
    namespace: str = "",
    device: str = "",
    phase: str = "",
    limit: Limit = 1000,
    after: Continue = "",
) -> Response:
    """List commands, the oldest first; `device` is a name, `phase` the word of one phase."""
    if phase and phase.upper() not in Phase.__members__:
        known = ", ".join(one.name.lower() for one in Phase)
        raise ConfigError(f"phase: {phase!r} unknown; there are {known}")
    wanted = sorted(
        ((one.id,), one)
        for one in api.node.commands.records.values()
        if namespace in ("", one.device.namespace)
        and device in ("", one.device.name)
        and phase.upper() in ("", one.phase.name)
    )
    found, more = page(wanted, limit, after)
    return Json({"items": [command_view(one) for one in found], "continue": more})


@router.get("/commands/{id}", responses=schemas.COMMAND)
async def get_command(api: TheApi, request: Request, id: str) -> Response:
    """Get a command and what became of it."""
    return Json(command_view(_find(api, request, id)))


@router.delete("/commands/{id}", responses={**schemas.COMMAND, 202: schemas.COMMAND[200]})
async def cancel_command(
    api: TheApi, request: Request, id: str, wait: Wait = _USUAL_WAIT
) -> Response:
    """Take a command back that has not begun: 200 once it is, 202 while its mapper is asked."""
    with api.node.feed.reader() as reader:
        record = api.node.commands.cancel(_find(api, request, id).id)
        record = await _ended(api, reader, record, wait)
    await api.node.commands.flush()
    status = HTTPStatus.OK if record.phase.is_final else HTTPStatus.ACCEPTED
    return Json(command_view(record), status)


def _find(api: Api, request: Request, command_id: str) -> CommandRecord:
    """A command that this client may know of.

    Raises:
        NotFoundError: There is none, or it is of a namespace that is not the client's.
    """
    record = api.node.commands.find(command_id)
    if not _identity(request).may_in(record.device.namespace):
        raise NotFoundError(f"there is no command {command_id!r}")
    return record


def _identity(request: Request) -> Identity:
    identity: Identity = request.scope.get(IDENTITY, LOCAL)
    return identity


def _has_no_own(api: Api, device: Device) -> bool:
    """Whether the mapper of a device could not call methods of the device itself."""
    session = api.dmi.leases.owner(device.key)
    if session is not None:
        return "call" not in session.record.abilities
    # DMI v1beta1 knows no such methods.
    return bool(api.mapper_of(device))


async def _arguments(request: Request) -> View:
    body = await read_body(request, LARGEST_CALL)
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not JSON: {error}") from None
    arguments = found.get("arguments") if isinstance(found, dict) else None
    if not isinstance(arguments, dict):
        raise ConfigError('the body must be {"arguments": {…}}')
    return arguments


def _own(request: Request, key: str) -> str:
    """The idempotency key as one of this client: another may have had the same idea."""
    identity = _identity(request)
    return key if not key or identity is LOCAL else f"{len(identity.name)} {identity.name} {key}"


def _caller(request: Request) -> str:
    """Name, address and program of whoever asks, as far as they can be known."""
    where, identity = request.client.host if request.client else "local", _identity(request)
    if identity is not LOCAL:
        where = f"{identity.name}@{where}"
    agent = request.headers.get("user-agent", "").split(" ")[0]
    text = f"{where} {agent}".strip()[:_LONGEST_CALLER]
    return text if text.isprintable() else where


async def _ended(
    api: Api, reader: Reader[View], record: CommandRecord, wait: float
) -> CommandRecord:
    """The command once it has ended, or as it is when that takes too long."""
    book = api.node.commands
    deadline = asyncio.get_running_loop().time() + wait
    while True:
        record = book.records.get(record.id, record)
        if record.phase.is_final:
            return record
        reader.skip()
        try:
            async with asyncio.timeout_at(deadline):
                if not await reader.wait():
                    return record
        except TimeoutError:
            return record


def _method_view(method: Method, source: str) -> View:
    return {
        "name": method.name,
        "description": method.description,
        "source": source,
        "arguments": {name: dict(schema) for name, schema in method.arguments.items()},
        "results": {name: dict(schema) for name, schema in method.results.items()},
    }
