"""Messages of `dmi.v1` about commands to and from what the rest of the code works with."""

from collections.abc import Iterable, Mapping

import orjson

from dmi.convert.v1 import (
    key_from_v1,
    key_to_v1,
    microseconds,
    seconds,
    value_from_v1,
    value_to_v1,
)
from dmi.errors import ConfigError
from dmi.methods import Method, Schema
from dmi.proto.v1 import api_pb2 as pb
from dmi.readings import Value
from dmi.reports import Command, CommandProgress, Phase
from dmi.resources import Key

__all__ = [
    "command_from_v1",
    "command_to_v1",
    "methods_from_v1",
    "methods_to_v1",
    "progress_from_v1",
    "progress_to_v1",
]

_PERCENT = 100


def command_to_v1(command: Command) -> pb.Command:
    """A command, its withdrawal, or that its outcome is kept.

    Raises:
        ConversionError: An argument cannot travel.
    """
    if command.settled:
        return pb.Command(id=command.id, settled=True)
    return pb.Command(
        id=command.id,
        device=key_to_v1(command.device),
        method=command.method,
        arguments=_values_to_v1(command.arguments),
        deadline_us=microseconds(command.deadline),
        cancel=command.cancel,
    )


def command_from_v1(message: pb.Command) -> Command:
    """A command, its withdrawal, or that its outcome is kept.

    Raises:
        ConfigError: Its id, device or method is missing.
    """
    if not message.id:
        raise ConfigError("the id of the command is missing")
    if message.settled:
        return Command(message.id, Key("", ""), "", settled=True)
    if not message.method:
        raise ConfigError(f"command {message.id} names no method")
    return Command(
        id=message.id,
        device=key_from_v1(message.device),
        method=message.method,
        arguments=_values_from_v1(message.arguments),
        deadline=seconds(message.deadline_us),
        cancel=message.cancel,
    )


def progress_to_v1(progress: CommandProgress) -> pb.CommandProgress:
    """How far a command has come.

    Raises:
        ConversionError: A result cannot travel.
    """
    return pb.CommandProgress(
        id=progress.id,
        progress=pb.Progress(
            phase=progress.phase.name,
            percent=progress.percent,
            reason=progress.reason,
            message=progress.message,
            time_us=microseconds(progress.time),
        ),
        results=_values_to_v1(progress.results),
    )


def progress_from_v1(message: pb.CommandProgress) -> CommandProgress:
    """How far a command has come.

    Raises:
        ConfigError: Its id is missing, or the phase is not known here.
    """
    if not message.id:
        raise ConfigError("the id of the command is missing")
    said = message.progress
    try:
        phase = Phase(said.phase)
    except ValueError as error:
        raise ConfigError(f"phase {said.phase} of command {message.id} is not known") from error
    return CommandProgress(
        id=message.id,
        phase=phase,
        time=seconds(said.time_us),
        percent=min(said.percent, _PERCENT),
        reason=said.reason,
        message=said.message,
        results=_values_from_v1(message.results),
    )


def methods_to_v1(device: Key, methods: Iterable[Method]) -> pb.DeviceMethods:
    """What a device offers to call.

    Raises:
        ConfigError: A schema of theirs is not JSON.
    """
    return pb.DeviceMethods(
        device=key_to_v1(device),
        methods=[
            pb.Method(
                name=method.name,
                description=method.description,
                arguments=_schemas_to_json(method.arguments),
                results=_schemas_to_json(method.results),
            )
            for method in methods
        ],
    )


def methods_from_v1(message: pb.DeviceMethods) -> tuple[Key, tuple[Method, ...]]:
    """What a device offers to call.

    Raises:
        ConfigError: The device or a name is missing, or schemas are not JSON objects.
    """
    device = key_from_v1(message.device)
    if any(not said.name for said in message.methods):
        raise ConfigError("a method has no name", device=str(device))
    return device, tuple(
        Method(
            said.name,
            said.description,
            _schemas_from_json(said.arguments, device),
            _schemas_from_json(said.results, device),
        )
        for said in message.methods
    )


def _values_to_v1(values: Mapping[str, Value]) -> dict[str, pb.Value]:
    return {name: value_to_v1(value) for name, value in values.items()}


def _values_from_v1(values: Mapping[str, pb.Value]) -> dict[str, Value]:
    """Sorted, since a map on the wire has no order; a kind that is not known yet is left out."""
    typed = ((name, value_from_v1(values[name])) for name in sorted(values))
    return {name: value for name, value in typed if value is not None}


def _schemas_to_json(schemas: Mapping[str, Schema]) -> str:
    try:
        return orjson.dumps({name: dict(schema) for name, schema in schemas.items()}).decode()
    except TypeError as error:
        raise ConfigError(f"a method's schemas are not JSON: {error}") from error


def _schemas_from_json(text: str, device: Key) -> dict[str, Schema]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"a method's schemas are not JSON: {error}", device=str(device)) from None
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise ConfigError("a method's schemas are no JSON objects", device=str(device))
    return found
