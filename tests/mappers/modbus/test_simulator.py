import asyncio
import json
import math
import os
import shutil
import signal
import struct
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from dmi.errors import ConfigError, DeadlineError, RefusedError, UnavailableError
from mappers.modbus.config import Transport
from mappers.modbus.simulation.faults import (
    CONTROL_UNIT,
    Fault,
    FaultKind,
    Faults,
    parse_fault,
)
from mappers.modbus.simulation.plant import RACK_SIZE, ROWS, Plant, UnknownUnitError
from mappers.modbus.simulator import ModbusSimulator, main
from mappers.modbus.visit import ModbusVisit, Register

PLANT_FILES = Path(__file__).parents[3] / "examples" / "plant"


def at(offset=0, register="holding", **settings):
    return ModbusVisit.model_validate({"register": register, "offset": offset, **settings})


# -------------------------------------------------------------------- plant ----


class Time:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


def number(plant, unit, register, address, layout):
    table = plant.tables(unit)[register]
    size = struct.calcsize(layout) // 2
    words = (table[a] for a in range(address, address + size))
    return struct.unpack(layout, struct.pack(f">{size}H", *words))[0]


def test_the_boiler_goes_to_its_setpoint_and_cools_without_burner():
    time = Time()
    plant = Plant(3, time)
    setpoint = struct.unpack(">2H", struct.pack(">f", 80.0))
    plant.tables(1)[Register.HOLDING].update(enumerate(setpoint))
    assert plant.tables(1)[Register.DISCRETE_INPUT][0] == 0
    time.seconds += 1
    assert plant.tables(1)[Register.DISCRETE_INPUT][0] == 1
    for _ in range(120):
        time.seconds += 1
        plant.tables(1)
    assert number(plant, 1, Register.INPUT, 0, ">f") == pytest.approx(80, abs=2.5)
    plant.tables(1)[Register.COIL][0] = 0
    time.seconds += 1000
    temperature = number(plant, 1, Register.INPUT, 0, ">f")
    assert temperature == pytest.approx(20, abs=0.1)
    assert number(plant, 1, Register.INPUT, 2, ">f") == pytest.approx(1 + temperature / 100)


def test_the_pump_overheats_and_stops():
    time = Time()
    plant = Plant(2, time)
    assert plant.tables(2)[Register.DISCRETE_INPUT][0] == 1
    plant.tables(2)[Register.HOLDING][0] = 2900
    time.seconds += 1
    assert plant.tables(2)[Register.INPUT][1] == 0b1000
    assert plant.tables(2)[Register.INPUT][0] == pytest.approx(232, abs=6)
    plant.tables(2)[Register.HOLDING][0] = 0
    time.seconds += 1
    assert plant.tables(2)[Register.DISCRETE_INPUT][0] == 0


def test_the_meter_counts():
    time = Time()
    plant = Plant(3, time)
    before = number(plant, 3, Register.INPUT, 0, ">Q")
    for _ in range(60):
        time.seconds += 60
        plant.tables(3)
    assert number(plant, 3, Register.INPUT, 0, ">Q") - before == pytest.approx(1500, rel=0.3)
    assert 2280 <= plant.tables(3)[Register.INPUT][5] <= 2320


def test_racks_move_each_second():
    time = Time()
    plant = Plant(5, time)
    before = plant.tables(5)[Register.INPUT][7]
    time.seconds += 3
    assert plant.tables(5)[Register.INPUT][7] == before + 3
    assert len(plant.tables(5)[Register.COIL]) == RACK_SIZE


def test_there_are_no_more_units_than_asked_for():
    with pytest.raises(UnknownUnitError):
        Plant(3, Time()).tables(4)


def test_the_example_devices_fit_the_plant():
    devices = {}
    for file in PLANT_FILES.glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            if document["kind"] == "Device":
                devices[document["metadata"]["name"]] = document["spec"]
    assert {row.device for row in ROWS} == devices.keys()
    for row in ROWS:
        spec = devices[row.device]
        (found,) = [p for p in spec["properties"] if p["name"] == row.property]
        settings = found["visitors"]["configData"]
        assert spec["protocol"]["configData"]["slaveID"] == row.unit
        assert (settings["register"], settings["offset"]) == (row.register, row.offset)
    properties = sum(len(spec["properties"]) for spec in devices.values())
    assert properties == len(ROWS)


# ------------------------------------------------------------------- faults ----


@pytest.mark.parametrize(
    ("text", "kind", "unit", "parameter"),
    [
        ("drop", FaultKind.DROP, None, 0.0),
        ("delay:2", FaultKind.DELAY, 2, 5.0),
        ("delay:2:0.5", FaultKind.DELAY, 2, 0.5),
        ("refuse:0:6", FaultKind.REFUSE, None, 6.0),
        ("refuse", FaultKind.REFUSE, None, 2.0),
    ],
)
def test_faults_in_words(text, kind, unit, parameter):
    fault = parse_fault(text)
    assert (fault.kind, fault.unit, fault.parameter) == (kind, unit, parameter)


@pytest.mark.parametrize("text", ["burn", "drop:x", "delay:1:soon", ""])
def test_words_that_are_no_fault(text):
    with pytest.raises(ConfigError, match=r"write kind\[:unit\[:parameter\]\]"):
        parse_fault(text)


def test_a_fault_strikes_what_it_is_meant_for():
    faults = Faults()
    fault = Fault(
        FaultKind.SILENT, 1, times=2, register=Register.HOLDING, start=5, end=7, functions={3}
    )
    with faults.on(fault):
        for unit, function, register, span in [
            (2, 3, Register.HOLDING, range(5, 6)),
            (1, 6, Register.HOLDING, range(5, 6)),
            (1, 3, Register.INPUT, range(5, 6)),
            (1, 3, Register.HOLDING, range(7, 9)),
            (1, 3, Register.HOLDING, range(5)),
        ]:
            assert faults.met_by(unit, function, register, span) is None
        struck = [faults.met_by(1, 3, Register.HOLDING, range(6, 9)) for _ in range(3)]
        assert struck == [fault, fault, None]
    assert faults.met_by(1, 3, Register.HOLDING, range(6, 9)) is None


async def test_faults_are_switched_on_over_modbus(simulator, connect):
    panel, rack = await connect(CONTROL_UNIT), await connect(4, retries=0, timeout=0.3)
    await panel.write(at(0, count=4), "[3,4,4,1]")
    (answer,) = await rack.read([at(0)])
    assert isinstance(answer, RefusedError)
    assert "device failure" in str(answer)
    assert await rack.read([at(0)]) == [0]
    await panel.write(at(0, count=4), "[2,0,600,0]")
    with pytest.raises(DeadlineError):
        await rack.read([at(0)])
    assert await panel.read([at(0, count=4)]) == ["[2,0,600,0]"]
    await panel.write(at(0), 0)
    assert await rack.read([at(1)]) == [1]
    with pytest.raises(RefusedError, match="illegal data value"):
        await panel.write(at(0), 6)


async def test_requests_sent_at_once_are_all_answered(simulator):
    """Unlike pymodbus's own handler, which keeps the last of them only."""
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    requests = [struct.pack(">3H2B2H", n, 0, 6, 4, 3, n, 1) for n in range(1, 6)]
    writer.write(b"".join(requests))
    answers = await asyncio.wait_for(reader.readexactly(11 * 5), 5)
    assert [struct.unpack_from(">H7xH", answers, 11 * i) for i in range(5)] == [
        (n, n) for n in range(1, 6)
    ]
    writer.close()
    await writer.wait_closed()


async def test_a_port_that_is_taken():
    async with ModbusSimulator() as simulator:
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{simulator.port}"):
            await ModbusSimulator(port=simulator.port).start()


async def test_functions_that_the_plant_does_not_know(simulator):
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(struct.pack(">3H2BH", 1, 0, 4, 4, 0x41, 0))
    answer = await asyncio.wait_for(reader.readexactly(9), 5)
    assert answer == struct.pack(">3H3B", 1, 0, 3, 4, 0x41 | 0x80, 1)
    writer.close()
    await writer.wait_closed()


# ------------------------------------------------------------- as a program ----


@asynccontextmanager
async def running(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mappers.modbus.simulator", "--port", "0", "--ready-json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 15)
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.process
async def test_the_program_serves_until_it_is_told_to_end(connect):
    async with running("--units", "4", "--fault", "refuse:4:6") as (process, ready):
        assert ready["units"] == 4
        pump = await connect(2, port=ready["port"])
        assert await pump.read([at(0)]) == [1450]
        process.send_signal(signal.SIGTERM)
        output, errors = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, output, errors) == (0, b"", b"")


@pytest.mark.process
async def test_a_foreign_program_reads_the_same():
    """mbpoll is built on libmodbus, which shares nothing with the driver or the simulator."""
    if shutil.which("mbpoll") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("mbpoll is missing: nobody else has looked at the simulator")
        pytest.skip("mbpoll is not installed")
    async with running("--units", "4") as (_, ready):
        port = str(ready["port"])

        async def mbpoll(*arguments):
            process = await asyncio.create_subprocess_exec(
                *("mbpoll", "-m", "tcp", "-p", port, "-0", "-1", "-q", *arguments, "127.0.0.1"),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await asyncio.wait_for(process.communicate(), 10)
            assert process.returncode == 0, output
            lines = output.decode().splitlines()
            return [line.split()[-1] for line in lines if line.startswith("[")]

        assert await mbpoll("-a", "4", "-t", "4", "-r", "5", "-c", "3") == ["5", "6", "7"]
        assert await mbpoll("-a", "4", "-t", "1", "-r", "1", "-c", "2") == ["1", "0"]
        (setpoint,) = await mbpoll("-a", "1", "-t", "4:float", "-B", "-r", "0", "-c", "1")
        assert math.isclose(float(setpoint), 60.0)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--fault", "burn"], 2, "'burn' is no fault"),
        (["--transport", "rtu"], 2, "--serial-port goes with"),
        (["--transport", "tls"], 2, "needs --cert-file"),
        (["--transport", "tls", "--cert-file", "/nowhere/x.pem"], 2, "/nowhere/x.pem"),
        (["--transport", "rtu", "--serial-port", "/dev/nowhere"], 1, "/dev/nowhere"),
        (["--host", "203.0.113.1", "--port", "0"], 1, "203.0.113.1"),
    ],
)
def test_wrong_options_end_with_a_word(arguments, code, words, capsys):
    assert main(arguments) == code
    assert words in capsys.readouterr().err


def test_transports_that_number_requests():
    assert [t for t in Transport if t.numbers_requests] == ["tcp", "tls", "udp"]
