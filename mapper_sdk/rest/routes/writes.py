"""Writing properties: one, or several at once; checked before the bus sees any of it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import ConfigError, DmiError, OverloadedError, PreconditionError
from dmi.readings import Value
from dmi.resources import Key
from dmi.rest.body import parse_object, read_body
from dmi.values import json_value, value_from_json
from mapper_sdk.rest.answers import Tag, check_precondition, problem_answer
from mapper_sdk.rest.clients import client_of
from mapper_sdk.rest.context import Api, TheApi
from mapper_sdk.rest.idempotency import Attempt
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.queries import Timeout
from mapper_sdk.rest.routes.reads import PROPERTIES, PROPERTY
from mapper_sdk.rest.views import point_json
from mapper_sdk.sessions.session import Session
from mapper_sdk.sessions.twin import checked_value
from mapper_sdk.sessions.writing import Progress

__all__ = ["LARGEST", "router"]

LARGEST: Final = 1024 * 1024
"""Most bytes of a body."""

_MOST_VALUES: Final = 1000

router = APIRouter(tags=["write"], responses=schemas.PROBLEMS)


class WriteQuery(BaseModel):
    """How a write is done."""

    model_config = ConfigDict(frozen=True)

    readback: bool = Field(
        default=True,
        description="Read the property when it is written, and answer what the device has.",
    )
    dry_run: bool = Field(
        default=False, alias="dryRun", description="Check everything, and write nothing."
    )
    timeout: Timeout = 15.0


@router.put(
    PROPERTY,
    response_class=Response,
    responses=schemas.WRITTEN,
    openapi_extra={"requestBody": schemas.VALUE_BODY, "parameters": schemas.WRITE_HEADERS},
)
async def write_property(
    api: TheApi,
    request: Request,
    namespace: str,
    name: str,
    prop: str,
    query: Annotated[WriteQuery, Query()],
) -> Response:
    """Write a property; the desired value of the manager stays as it is."""
    session = api.mapper.session(Key(namespace, name))
    body = await read_body(request, LARGEST)

    async def act(attempt: Attempt) -> Response:
        value = parse_object(body).get("value")
        if value is None:
            raise ConfigError('the body must be {"value": …}')
        return await _Write(api, request, session, query, {prop: value}, attempt).run_one(prop)

    return await api.repetitions.once(request, body, act)


@router.patch(
    PROPERTIES,
    response_class=Response,
    responses=schemas.ALL_WRITTEN,
    openapi_extra={"requestBody": schemas.VALUES_BODY, "parameters": schemas.WRITE_HEADERS},
)
async def write_properties(
    api: TheApi, request: Request, namespace: str, name: str, query: Annotated[WriteQuery, Query()]
) -> Response:
    """Write several properties of a device, at once where its protocol can, else in order.

    All are checked before the first is written. A failure ends it, and its problem object
    says what was `written`, what was sent and is `unknown`, and what is `unwritten`.
    """
    session = api.mapper.session(Key(namespace, name))
    body = await read_body(request, LARGEST)

    async def act(attempt: Attempt) -> Response:
        values = parse_object(body).get("values")
        if not isinstance(values, dict) or not 0 < len(values) <= _MOST_VALUES:
            raise ConfigError(f'the body must be {{"values": {{…}}}}, with 1 to {_MOST_VALUES}')
        return await _Write(api, request, session, query, values, attempt).run_all()

    return await api.repetitions.once(request, body, act)


class _Write:
    """One request to write, from its checks to its entry in the audit trail."""

    def __init__(
        self,
        api: Api,
        request: Request,
        session: Session,
        query: WriteQuery,
        given: Mapping[str, Any],
        attempt: Attempt,
    ) -> None:
        self._api = api
        self._session = session
        self._query = query
        self._given = given
        self._attempt = attempt
        self._client = client_of(request.scope)
        self._if_match = request.headers.get("if-match")
        self._progress = Progress()

    async def run_one(self, name: str) -> Response:
        """Write one property, and give it as it is then."""
        try:
            written = (await self._run())[name]
        except DmiError as error:
            return self._failed(error)
        point = self._session.point(name)
        content, age = point_json(point, self._api.mapper.clock.time())
        told = orjson.dumps({"written": written, "dryRun": self._query.dry_run})
        whole = b"%b,%b,%b" % (content[:-1], told[1:-1], age[1:])
        return Response(whole, media_type="application/json", headers={"etag": str(Tag(content))})

    async def run_all(self) -> Response:
        """Write them, and give them as they are then."""
        try:
            written = await self._run()
        except DmiError as error:
            return self._failed(error)
        told = {
            "written": written,
            "together": self._progress.together,
            "dryRun": self._query.dry_run,
        }
        now = self._api.mapper.clock.time()
        parts = [point_json(self._session.point(name), now) for name in self._given]
        items = b",".join(content[:-1] + age for content, age in parts)
        content = b'%b,"items":[%b]}' % (orjson.dumps(told)[:-1], items)
        return Response(content, media_type="application/json")

    def _failed(self, error: DmiError) -> Response:
        """Say what went wrong, and what has become of each value all the same."""
        done = self._progress
        sent = {*done.written, *done.unknown}
        return problem_answer(
            error,
            written=done.written,
            unknown=done.unknown,
            unwritten=[name for name in self._given if name not in sent],
        )

    def _begin(self) -> None:
        """Their turn on the bus has come."""
        self._check_precondition()
        self._attempt.begin()

    async def _run(self) -> dict[str, Any]:
        """Write, and note who has tried; gives the values as they were written."""
        values = self._checked()
        written = {
            name: json_value(value, self._session.point(name).type)
            for name, value in values.items()
        }
        if self._query.dry_run:
            return written
        try:
            await self._session.write_all(
                values,
                self._progress,
                self._begin,
                read_back=self._query.readback,
                limit=self._query.timeout,
            )
        except DmiError as error:
            if isinstance(error, OverloadedError) and not self._progress.written:
                # The device itself says that it has done nothing: the same again may do it.
                self._attempt.begun = False
            await self._note(written, error)
            raise
        await self._note(written, None)
        return written

    def _checked(self) -> dict[str, Value]:
        """The values in their properties' types; what is wrong is known before any is written."""
        values: dict[str, Value] = {}
        for name, given in self._given.items():
            point = self._session.point(name)
            values[name] = checked_value(point, value_from_json(given, point.type))
        self._check_precondition()
        return values

    def _check_precondition(self) -> None:
        """Let it pass whose `If-Match` is the tag of the property, or of all that are written.

        Raises:
            PreconditionError: They were read anew since the client looked.
        """
        if self._if_match is None:
            return
        tag = Tag()
        for name in self._given:
            point = self._session.point(name)
            if point.latest is None:
                raise PreconditionError(f"{name!r} has not been read yet")
            tag.update(point_json(point, 0.0)[0])
        check_precondition(self._if_match, tag)

    async def _note(self, written: Mapping[str, Any], error: DmiError | None) -> None:
        key = self._session.plan.key
        message = "" if error is None else str(error)
        for name, value in written.items():
            outcome = self._outcome(name, error)
            told = "" if outcome == "ok" else message
            await self._api.audit.note(
                self._client, "write", key, name, orjson.dumps(value), outcome, told
            )

    def _outcome(self, name: str, error: DmiError | None) -> str:
        """What became of one value, in one word."""
        done = self._progress
        if error is None or name in done.written:
            return "ok"
        if name in done.unknown:
            return "unknown"
        if name in done.refused or not (done.written or done.unknown or done.refused):
            return error.reason
        return "unwritten"
