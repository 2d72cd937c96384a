"""What the gRPC stubs leave untyped or awkward for streams."""

from typing import Any, Final, TypeAlias

import grpc

from dmi.errors import DmiError

__all__ = ["EOF", "Context", "expected"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

EOF: Final = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in grpc-stubs
"""What `Context.read` gives when the peer has no more to say."""


def expected(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of ours in a task group's failure; the group itself when there is none: a bug."""
    found: BaseException | None = group.subgroup(DmiError)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or group
