import asyncio
import json
import signal
import sys

import pytest
from bleak import BleakClient, BleakScanner

from dmi.errors import ConfigError, UnavailableError
from mappers.ble import simulator as program
from mappers.ble.radio import open_radio
from mappers.ble.simulation.faults import Fault, FaultKind, Faults, parse_fault
from mappers.ble.simulator import BleSimulator

ROOM, THERMOMETER, HEATER = "F1:00:00:00:00:01", "F0:00:00:00:00:01", "F0:00:00:00:00:02"


async def addresses(radio, enough, seconds=5):
    """Scan until `enough` of those heard; give them."""
    seen, done = set(), asyncio.Event()

    def heard(device, _):
        seen.add(device.address)
        if enough(seen):
            done.set()

    async with BleakScanner(heard, backend=radio.scanner, **radio.kwargs), asyncio.timeout(seconds):
        await done.wait()
    return seen


async def test_vanishes_and_comes_back_with_what_it_held():
    async with BleSimulator(interval=0.05) as simulator, open_radio(simulator.radio) as radio:
        gone = asyncio.Event()
        client = BleakClient(
            HEATER, lambda _: gone.set(), backend=radio.client, timeout=0.3, **radio.kwargs
        )
        await client.connect()
        simulator.heater.setpoint = 44.0
        await simulator.stop()
        await asyncio.wait_for(gone.wait(), 5)
        with pytest.raises(TimeoutError):
            await addresses(radio, bool, seconds=0.2)
        await simulator.start()
        await simulator.start()
        await addresses(radio, lambda seen: {ROOM, HEATER} <= seen)
        await client.connect()
        assert simulator.heater.links == 1
        assert simulator.heater.setpoint == 44.0
        await client.disconnect()


async def test_is_at_the_same_port_after_a_restart():
    async with BleSimulator(port=0) as simulator:
        port = simulator.port
        async with open_radio(simulator.tcp_radio) as radio:
            await simulator.stop()
            await asyncio.wait_for(radio.lost.wait(), 5)
        await simulator.start()
        assert simulator.port == port
        async with open_radio(simulator.tcp_radio) as radio:
            await addresses(radio, bool)


async def test_two_radios_on_one_air():
    async with (
        BleSimulator(port=0, interval=0.05) as simulator,
        open_radio(simulator.radio) as one,
        open_radio(simulator.tcp_radio) as other,
        BleakClient(HEATER, backend=one.client, **one.kwargs) as heater,
        BleakClient(THERMOMETER, backend=other.client, **other.kwargs) as thermometer,
    ):
        assert await heater.read_gatt_char("2a00") == b"heater"
        assert await thermometer.read_gatt_char("2a19") == bytes((88,))
        assert simulator.writes == 0
        assert simulator.thermometer.reads == 1


async def test_many_advertisers_and_peripherals():
    async with (
        BleSimulator(advertisers_count=300, peripherals=5, interval=0.2) as simulator,
        open_radio(simulator.radio) as radio,
    ):
        seen = await addresses(radio, lambda seen: len(seen) == 309, 10)
        assert "F2:00:00:00:01:2B" in seen
        assert simulator.peripheral("heater-5").address == "F0:00:00:00:00:05"


async def test_out_of_range_and_back_by_itself():
    async with (
        BleSimulator(interval=0.05) as simulator,
        open_radio(simulator.radio) as radio,
    ):
        simulator.faults.add(Fault(FaultKind.OUT_OF_RANGE, "room", 0.3))
        others = await addresses(radio, lambda seen: len(seen) == 5)
        assert ROOM not in others
        await addresses(radio, lambda seen: ROOM in seen)


async def test_a_flood_of_advertisements():
    async with (
        BleSimulator(interval=0.1) as simulator,
        open_radio(simulator.radio) as radio,
    ):
        with simulator.faults.on(FaultKind.FLOOD, "room", 500):
            count, done = 0, asyncio.Event()

            def heard(device, _):
                nonlocal count
                count += device.address == ROOM
                if count == 60:
                    done.set()

            async with (
                BleakScanner(heard, backend=radio.scanner, **radio.kwargs),
                asyncio.timeout(3),
            ):
                await done.wait()


async def test_a_taken_port_is_said():
    async with BleSimulator(port=0) as simulator:
        with pytest.raises(UnavailableError, match="cannot listen"):
            await BleSimulator(port=simulator.port).start()


async def test_a_controller_that_cannot_be():
    with pytest.raises(UnavailableError, match="/nobody"):
        await BleSimulator(controller="serial:/nobody").start()


async def test_a_link_goes_with_the_central_that_vanished():
    async with BleSimulator(port=0, interval=0.05) as simulator:
        async with open_radio(simulator.tcp_radio) as radio:
            client = BleakClient(HEATER, backend=radio.client, **radio.kwargs)
            await client.connect()
            assert simulator.heater.links == 1
        async with open_radio(simulator.radio) as radio:
            await addresses(radio, lambda seen: HEATER in seen)
            assert simulator.heater.links == 0


@pytest.mark.parametrize(
    ("text", "kind", "device", "parameter"),
    [
        ("drop", FaultKind.DROP, "", 1),
        ("slow:heater", FaultKind.SLOW, "heater", 5),
        ("error::0x0e", FaultKind.ERROR, "", 14),
        ("out-of-range:tag:2.5", FaultKind.OUT_OF_RANGE, "tag", 2.5),
        ("flood:room:", FaultKind.FLOOD, "room", 200),
    ],
)
def test_faults_in_words(text, kind, device, parameter):
    fault = parse_fault(text)
    assert (fault.kind, fault.device, fault.parameter) == (kind, device, parameter)


@pytest.mark.parametrize("text", ["", "burn", "drop:heater:x", "drop:heater:1:2", "error::0xg"])
def test_what_is_no_fault(text):
    with pytest.raises(ConfigError, match="is no fault"):
        parse_fault(text)


def test_faults_tell_of_their_changes():
    changes = []
    faults = Faults(lambda: changes.append(len(faults.of(FaultKind.SLOW))))
    with faults.on(FaultKind.SLOW, "heater") as fault:
        assert faults.met_by(FaultKind.SLOW, "heater") is fault
        assert faults.met_by(FaultKind.SLOW, "room") is None
        assert faults.met_by(FaultKind.DROP, "heater") is None
        faults.remove(fault)
    assert changes == [1, 0]


def test_wrong_options(capsys):
    assert program.main(["--fault", "burn"]) == 2
    assert "is no fault" in capsys.readouterr().err
    assert program.main(["--port", "0", "--controller", "serial:/nobody"]) == 1
    assert "/nobody" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pairing", "said"),
    [
        ("kettle:123456", "no device 'kettle'"),
        ("heater:12345", "write six digits"),
        ("heater", "write six digits"),
        ("heater:123456", "/nobody"),
        ("heater:compare", "/nobody"),
    ],
)
def test_ways_of_pairing(pairing, said, capsys):
    words = ["--port", "0", "--controller", "serial:/nobody", "--pairing", pairing]
    assert program.main(words) != 0
    assert said in capsys.readouterr().err


@pytest.mark.process
async def test_the_program_says_where_it_is_and_ends_when_told():
    words = ("-m", "mappers.ble.simulator", "--port", "0", "--ready-json", "--fault")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        "slow:heater:0.1",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 15))
        assert ready["radio"] == f"tcp-client:127.0.0.1:{ready['port']}"
        async with (
            open_radio(ready["radio"]) as radio,
            BleakClient(HEATER, backend=radio.client, **radio.kwargs) as client,
        ):
            assert await client.read_gatt_char("2a00")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 5) == 0
            await asyncio.wait_for(radio.lost.wait(), 5)
            assert not client.is_connected
        assert await process.stderr.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_program_killed_is_a_lost_radio(free_simulator):
    process, radio_name = free_simulator
    async with open_radio(radio_name) as radio:
        client = BleakClient(HEATER, backend=radio.client, **radio.kwargs)
        await client.connect()
        process.kill()
        await asyncio.wait_for(radio.lost.wait(), 5)
        assert not client.is_connected
    with pytest.raises(UnavailableError):
        async with open_radio(radio_name):
            pass


@pytest.fixture
async def free_simulator():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mappers.ble.simulator", "--port", "0", "--ready-json"),
        stdout=asyncio.subprocess.PIPE,
    )
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 15))
    yield process, ready["radio"]
    if process.returncode is None:
        process.kill()
    await process.wait()
