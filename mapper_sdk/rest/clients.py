"""Who asks, as the guard in front has found out."""

from collections.abc import Mapping
from typing import Any

from dmi.rest.guard import IDENTITY
from dmi.rest.identity import LOCAL

__all__ = ["client_of"]


def client_of(scope: Mapping[str, Any]) -> str:
    """The name of the client of a request; `local` where anybody on this machine may ask."""
    name: str = getattr(scope.get(IDENTITY), "name", LOCAL.name)
    return name
