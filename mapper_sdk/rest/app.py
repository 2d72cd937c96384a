"""The REST application of a mapper."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from dmi.feed import Feed
from dmi.resources import Key
from dmi.rest.guard import OPEN
from mapper_sdk.audit import Audit
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.answers import add_problem_handlers
from mapper_sdk.rest.context import Api
from mapper_sdk.rest.counting import Counted, Requests
from mapper_sdk.rest.idempotency import Repetitions
from mapper_sdk.rest.metrics import Metrics
from mapper_sdk.rest.openapi import examples, models, schemas
from mapper_sdk.rest.routes import (
    changes,
    delivery,
    derived,
    history,
    kubeedge,
    methods,
    operating,
    writes,
)
from mapper_sdk.rest.routes.reads import Reads
from mapper_sdk.rest.scopes import needed_scope
from mapper_sdk.rest.streams.channels import Channels
from mapper_sdk.rest.streams.filters import Change

__all__ = ["Change", "make_app"]


class _Application(FastAPI):
    """FastAPI, whose document has the schemas that answers refer to."""

    def openapi(self) -> dict[str, Any]:
        """Give the document; it is made when somebody asks for the first time."""
        if self.openapi_schema is None:
            document = super().openapi()
            known = document.setdefault("components", {}).setdefault("schemas", {})
            known.update(models.components())
            document["components"]["securitySchemes"] = schemas.SECURITY_SCHEMES
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _name_examples(operation.get("parameters", []))
                    operation["security"] = _security(method, path)
            self.openapi_schema = document
        return self.openapi_schema


def _security(method: str, path: str) -> list[dict[str, list[str]]]:
    """What a request needs: nothing, where everybody who reaches the mapper may ask."""
    if path in OPEN:
        return []
    scope: str = needed_scope(method.upper(), path)
    return [{name: [scope]} for name in schemas.SECURITY_SCHEMES] + [{}]


def _name_examples(parameters: list[dict[str, Any]]) -> None:
    for parameter in parameters:
        if parameter["in"] == "path":
            parameter.setdefault("example", examples.NAMES[parameter["name"]])


def make_app(
    mapper: Mapper,
    feed: Feed[Change],
    *,
    audit: Audit | None = None,
    kubeedge_writes: bool = False,
) -> FastAPI:
    """Put the application together.

    Args:
        mapper: Whose devices these are.
        feed: What `/api/v1/changes` streams.
        audit: Where writes are noted; without one in memory and in the log.
        kubeedge_writes: Serve mapper-framework's write by GET.
    """
    app = _Application(
        title="DMI mapper",
        description="The devices of one mapper: readings, writes, methods, changes, history.",
        version=version("dmi-toolkit"),
        redoc_url=None,
        docs_url=None,
    )

    def labels_of(key: Key) -> dict[str, Any]:
        session = mapper.sessions.get(key)
        return session.plan.labels if session is not None else {}

    channels, requests = Channels(feed, labels_of), Requests()
    audit = audit or Audit()
    app.state.api = Api(
        mapper=mapper,
        channels=channels,
        audit=audit,
        repetitions=Repetitions(),
        metrics=Metrics(mapper, requests, channels, audit),
        kubeedge_writes=kubeedge_writes,
    )
    Reads(mapper).add_to(app)
    app.router.routes.append(changes.socket_route)
    for part in (writes, derived, methods, changes, history, delivery, kubeedge, operating):
        app.include_router(part.router)
    add_problem_handlers(app)
    app.add_middleware(Counted, requests=requests)
    return app
