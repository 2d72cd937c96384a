import pytest

from dmi.convert.v1_commands import (
    command_from_v1,
    command_to_v1,
    methods_from_v1,
    methods_to_v1,
    progress_from_v1,
    progress_to_v1,
)
from dmi.errors import ConfigError, ConversionError
from dmi.methods import Method
from dmi.proto.v1 import api_pb2 as pb
from dmi.reports import Command, CommandProgress, Phase
from dmi.resources import Key

PUMP = Key("default", "pump")
VALUES = {"a": 1, "b": 1.5, "c": True, "d": "x", "e": b"\0"}


def wired(message):
    return type(message).FromString(message.SerializeToString())


@pytest.mark.parametrize(
    "command",
    [
        Command("1", PUMP, "start", VALUES, 12.5),
        Command("1", PUMP, "start", deadline=12.5, cancel=True),
        Command("1", Key("", ""), "", settled=True),
    ],
)
def test_commands_survive_the_wire(command):
    assert command_from_v1(wired(command_to_v1(command))) == command


@pytest.mark.parametrize(
    "progress",
    [
        CommandProgress("1", Phase.RUNNING, 3.5, 40, "slow", "It takes long."),
        CommandProgress("1", Phase.SUCCEEDED, 3.5, 100, results=VALUES),
    ],
)
def test_progress_survives_the_wire(progress):
    assert progress_from_v1(wired(progress_to_v1(progress))) == progress


def test_phases_have_the_contracts_numbers():
    assert {phase.name: phase.value for phase in Phase} == dict(pb.Phase.items())
    assert [phase for phase in Phase if not phase.is_final] == [Phase.ACCEPTED, Phase.RUNNING]


def test_methods_survive_the_wire():
    methods = (
        Method("start", "Starts it.", {"speed": {"type": "integer"}}, {"ok": {}}),
        Method("stop"),
    )
    assert methods_from_v1(wired(methods_to_v1(PUMP, methods))) == (PUMP, methods)


def test_schemas_that_are_not_json_are_refused():
    with pytest.raises(ConfigError, match="not JSON"):
        methods_to_v1(PUMP, [Method("start", arguments={"a": {"type": object()}})])


def test_a_percent_is_at_most_all():
    said = pb.CommandProgress(id="1", progress=pb.Progress(percent=900))
    assert progress_from_v1(said).percent == 100


def test_kinds_of_values_that_are_not_known_are_left_out():
    said = pb.CommandProgress(id="1", results={"a": pb.Value(), "b": pb.Value(int=1)})
    assert progress_from_v1(said).results == {"b": 1}


def test_a_result_beyond_64_bits_cannot_travel():
    with pytest.raises(ConversionError):
        progress_to_v1(CommandProgress("1", Phase.SUCCEEDED, 0.0, results={"a": 2**70}))


@pytest.mark.parametrize(
    ("convert", "message", "told"),
    [
        (command_from_v1, pb.Command(), "id"),
        (command_from_v1, pb.Command(id="1"), "names no method"),
        (command_from_v1, pb.Command(id="1", method="m"), "namespace and name"),
        (progress_from_v1, pb.CommandProgress(), "id"),
        (progress_from_v1, pb.CommandProgress(id="1", progress=pb.Progress(phase=99)), "phase 99"),
        (methods_from_v1, pb.DeviceMethods(), "namespace and name"),
    ],
)
def test_what_makes_no_sense_is_refused(convert, message, told):
    with pytest.raises(ConfigError, match=told):
        convert(message)


@pytest.mark.parametrize("method", [pb.Method(), *(pb.Method(name="m", results=r) for r in "[1")])
def test_methods_that_make_no_sense_are_refused(method):
    device = pb.Key(namespace="default", name="pump")
    with pytest.raises(ConfigError, match="method"):
        methods_from_v1(pb.DeviceMethods(device=device, methods=[method]))
