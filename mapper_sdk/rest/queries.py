"""What may stand in the query of a request: read without the framework, documented with it."""

from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from dmi.errors import ConfigError

__all__ = ["ListQuery", "LiveQuery", "ReadQuery", "Timeout", "parameters", "query_of", "words"]

Model = TypeVar("Model", bound=BaseModel)

LONGEST_WAIT: Final = 60.0

Timeout = Annotated[
    float,
    Field(
        gt=0,
        le=LONGEST_WAIT,
        description="Seconds to wait for the device and its bus; then the answer is 504.",
    ),
]


class LiveQuery(BaseModel):
    """How fresh a reading is wanted."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    live: bool = Field(
        default=False,
        description="Ask the device itself, instead of giving the last reading. Requests at "
        "the same time share one read.",
    )
    timeout: Timeout = 15.0


class ReadQuery(LiveQuery):
    """Which properties, and how fresh."""

    properties: str = Field(
        default="",
        description="Names with commas between them; empty for all.",
        examples=["temperature,setpoint"],
    )


class ListQuery(LiveQuery):
    """Which devices, and which readings of them."""

    properties: str = Field(
        default="",
        description="Names with commas between them, or `*`: give the readings of these too.",
        examples=["temperature"],
    )
    namespace: str = Field(default="", description="Only devices of this namespace.")
    labels: str = Field(
        default="",
        description="Only devices with these labels, in Kubernetes' syntax.",
        examples=["site=hall-1,line in (6,7)"],
    )
    limit: int = Field(default=1000, ge=1, le=10_000, description="Most devices of one answer.")
    after: str = Field(
        default="",
        alias="continue",
        description="`continue` of the answer before; empty at first.",
    )


def query_of(model: type[Model], request: Request, default: Model) -> Model:
    """Read the query of a request; most have none, and get `default`.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if not request.scope["query_string"]:
        return default
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        faults = [f"query.{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
        raise ConfigError("; ".join(faults)) from None


def words(text: str) -> list[str]:
    """The words of a list with commas, each once."""
    return list(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def parameters(path: str, model: type[BaseModel] | None = None) -> list[dict[str, Any]]:
    """The parameters of a route for its OpenAPI document, that of its path and its query."""
    found: list[dict[str, Any]] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in path.split("/")
        if part.startswith("{")
    ]
    schema = model.model_json_schema(by_alias=True) if model is not None else {"properties": {}}
    for name, described in schema["properties"].items():
        described = {key: value for key, value in described.items() if key != "title"}
        entry = {"name": name, "in": "query", "required": False}
        entry["description"] = described.pop("description", "")
        found.append({**entry, "schema": described})
    return found
