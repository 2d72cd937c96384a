"""Errors over gRPC: every class across a real socket, and the codes and texts of strangers."""

import contextlib

import grpc
import pytest
from grpc import StatusCode

from dmi import errors
from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConflictError,
    ConversionError,
    DeadlineError,
    DmiError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from dmi.status import from_grpc, grpc_errors, to_grpc_status

CLASSES = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DmiError)
]


def rpc_error(code, details):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)


@contextlib.asynccontextmanager
async def serving(handler):
    """A server whose only call runs `handler(context)`; gives the client's call."""
    server = grpc.aio.server()

    async def answer(request, context):
        await handler(context)
        return request

    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Service", {"Call": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.unary_unary("/test.Service/Call")
    finally:
        await server.stop(None)


def test_every_subclass_is_mapped():
    def walk(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from walk(child)

    ours = {kind for kind in walk(DmiError) if kind.__module__ == "dmi.errors"}
    assert ours == set(CLASSES)
    assert len({kind.reason for kind in ours}) == len(ours)
    for kind in walk(DmiError):
        # A driver's own kinds keep their word in readings; on the wire they are what they
        # derive from.
        known = next(base for base in kind.__mro__ if base in ours)
        status, _ = to_grpc_status(kind.__new__(kind))
        assert status.value[0] == known.grpc_code
        assert errors.error_class(known.reason) is known
        assert errors.error_class(kind.reason) in (known, None)


@pytest.mark.parametrize("kind", CLASSES)
async def test_every_class_across_a_socket(kind):
    async def fail(context):
        async with grpc_errors(context):
            raise kind("it is so: größer", device="default/kiln")

    async with serving(fail) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
    assert caught.value.code().value[0] == kind.grpc_code
    back = from_grpc(caught.value, "write")
    assert type(back) is kind
    assert str(back) == "write: default/kiln: it is so: größer"


async def test_a_giant_text_is_cut_and_arrives():
    async def fail(context):
        async with grpc_errors(context):
            raise ConfigError("ß" * 100_000)

    async with serving(fail) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert len(caught.value.details()) == 500
    assert caught.value.details().endswith("...")


async def test_no_error_is_no_error():
    async def succeed(context):
        async with grpc_errors(context):
            pass

    async with serving(succeed) as call:
        assert await call(b"same") == b"same"


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (
            StatusCode.UNKNOWN,
            "fail to register mapper because of too many request: m",
            OverloadedError,
        ),
        (
            StatusCode.UNKNOWN,
            "fail to report device status because of too many request: d",
            OverloadedError,
        ),
        (StatusCode.UNKNOWN, "fail to register mapper m because the protocol is nil", ConfigError),
        (StatusCode.UNKNOWN, "ReportDeviceStatusRequest does not have twin data", RefusedError),
        (StatusCode.UNKNOWN, "ReportDeviceStatesRequest is invalid data", RefusedError),
        (StatusCode.UNKNOWN, "database is locked", UnavailableError),
        (StatusCode.UNKNOWN, None, UnavailableError),
        (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", DeadlineError),
        (StatusCode.UNIMPLEMENTED, "unknown service v1alpha1.X", UnsupportedError),
        (StatusCode.RESOURCE_EXHAUSTED, "slow down", OverloadedError),
        (
            StatusCode.RESOURCE_EXHAUSTED,
            "CLIENT: Received message larger than max (5 vs. 4)",
            RefusedError,
        ),
        (StatusCode.INVALID_ARGUMENT, "no name", ConfigError),
        (StatusCode.ALREADY_EXISTS, "twice", ConflictError),
        (StatusCode.UNAUTHENTICATED, "who", AccessDeniedError),
        (StatusCode.NOT_FOUND, "gone", NotFoundError),
        (StatusCode.CANCELLED, "stopping", UnavailableError),
        (StatusCode.INTERNAL, "Received RST_STREAM with error code 2", UnavailableError),
    ],
)
def test_codes_and_texts_of_strangers(code, details, kind):
    error = from_grpc(rpc_error(code, details), "report")
    assert type(error) is kind
    assert str(error) == f"report: {details or 'UNKNOWN'}"


@pytest.mark.parametrize("code", StatusCode)
def test_no_code_is_left_out(code):
    assert isinstance(from_grpc(rpc_error(code, ""), "call"), DmiError)


def test_the_machine_word_wins_also_as_bytes():
    trailing = grpc.aio.Metadata(("other", "x"), ("dmi-reason", b"conversion"))
    error = grpc.aio.AioRpcError(
        StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), trailing, "no", None
    )
    assert type(from_grpc(error, "write")) is ConversionError
