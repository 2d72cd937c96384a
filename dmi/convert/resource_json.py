"""Resources to and from JSON bytes, as they travel inside messages."""

from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from dmi.errors import ConfigError
from dmi.resources import Device, DeviceModel, Resource

__all__ = ["device_json", "model_json", "resource_from", "resource_from_json"]

Kind = TypeVar("Kind", bound=Resource)

_SHOWN_MISTAKES = 3


def device_json(device: Device) -> bytes:
    """A device as Kubernetes JSON without its desired values and status.

    Both have a life of their own: a new wish or state is not a change of the device.
    """
    data = device.to_json()
    data.pop("status", None)
    spec = data.get("spec", {})
    if "properties" in spec:
        # `to_json` made these dictionaries for us.
        for each in spec["properties"]:
            each.pop("desired", None)
    return orjson.dumps(data)


def model_json(model: DeviceModel) -> bytes:
    """A model as Kubernetes JSON."""
    return orjson.dumps(model.to_json())


def resource_from_json(kind: type[Kind], text: bytes, what: str) -> Kind:
    """Read a resource from JSON bytes; `what` names it in messages.

    Raises:
        ConfigError: The bytes are not JSON, or not such a resource.
    """
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{what} is not valid JSON: {error}") from error
    return resource_from(kind, data, what)


def resource_from(kind: type[Kind], data: Any, what: str) -> Kind:  # noqa: ANN401 - raw JSON
    """Read a resource from decoded JSON; `what` names it in messages.

    Raises:
        ConfigError: It is not such a resource; the message has the path of each mistake.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{what}: {_worded(error)}") from error


def _worded(error: ValidationError) -> str:
    mistakes = [
        f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    ]
    more = len(mistakes) - _SHOWN_MISTAKES
    rest = [f"and {more} more"] if more > 0 else []
    return "; ".join(mistakes[:_SHOWN_MISTAKES] + rest)
