"""The REST application of one node."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from device_manager.api import bulk, changes, commands, health, mappers, objects, schemas, twins
from device_manager.api.answers import add_problem_handlers
from device_manager.api.context import Api
from device_manager.api.metrics import make_registry
from device_manager.dmi_service.server import DmiServer
from device_manager.node import Node
from dmi.clock import Clock, SystemClock
from dmi.rest.door import Door
from dmi.rest.guard import Guard

__all__ = ["create_app"]


class _Application(FastAPI):
    """FastAPI, whose document has the schemas of refusals too."""

    def openapi(self) -> dict[str, Any]:
        """Give the document; it is made when somebody asks for the first time."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["schemas"].update(schemas.problems())
            self.openapi_schema = document
        return self.openapi_schema


def create_app(
    node: Node, dmi: DmiServer, *, door: Door | None = None, clock: Clock | None = None
) -> FastAPI:
    """Put the application together.

    Args:
        node: What it shows and changes.
        dmi: The running DMI services.
        door: Who may ask; without one, only this machine's own users must be able to
            reach it.
        clock: For the age of values.
    """
    app = _Application(
        title="Device manager",
        description="Devices, models, mappers and twins of one node.",
        version=version("dmi-toolkit"),
        docs_url=None,
        redoc_url=None,
    )
    app.state.api = Api(node, dmi, clock or SystemClock())
    app.state.registry = make_registry(app.state.api)
    # Read most of all: without the framework's checks it costs half. The same function
    # is registered once more below, for the OpenAPI document.
    hot = "/api/v1/devices/{namespace}/{name}/twins/{property:path}"
    app.router.routes.insert(0, Route(hot, twins.get_twin, methods=["GET"]))
    for part in (twins, commands, objects, bulk, mappers, changes, health):
        app.include_router(part.router)
    add_problem_handlers(app)
    if door is None:
        app.add_middleware(Guard)
    else:
        app.add_middleware(Guard, keys=door.keys, limits=door.limits)
    return app
