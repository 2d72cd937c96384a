"""A typed client of a mapper's REST API, blocking and asynchronous.

with Client() as mapper:
    print(mapper.read("default/kettle", "temperature").value)
"""

from mapper_sdk.client.asynchronous import AsyncClient
from mapper_sdk.client.blocking import Client
from mapper_sdk.client.models import (
    Change,
    Gap,
    JsonValue,
    Method,
    PropertyValue,
    ServedDevice,
    Span,
    Target,
)

__all__ = [
    "AsyncClient",
    "Change",
    "Client",
    "Gap",
    "JsonValue",
    "Method",
    "PropertyValue",
    "ServedDevice",
    "Span",
    "Target",
]
