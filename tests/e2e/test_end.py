"""SIGTERM: an orderly end within seconds, nothing left behind, the last readings delivered."""

import signal
import time

import pytest

from mappers.modbus.simulator import ModbusSimulator
from tests.e2e.node import BOILER_MODEL, TANK_MODEL, boiler, tank
from tests.e2e.programs import until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start.
    pytest.mark.timeout(60),
]

SOON = 5.0


async def test_a_manager_ends(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "level")
    async with manager.http.stream("GET", "/api/v1/changes") as changes:
        lines = changes.aiter_lines()
        assert (await anext(lines)).startswith("retry")
        # A stream of changes and a mapper hang on it; it ends all the same.
        assert await program.stop(SOON) == 0
        async for _ in lines:
            pass
    assert not stage.socket.exists()
    assert not (stage.folder / "api.sock").exists()
    # One file and no log beside it: everything is in it.
    assert [path.name for path in stage.data.iterdir()] == ["manager.db"]
    await program.start()
    await manager.until_reported("tank", "level")


async def test_the_last_reading_before_a_managers_end_is_kept(stage):
    stage.write("tank.yaml", TANK_MODEL, tank(cycle=20))
    program, manager = await stage.manager()
    mapper = await stage.mapper()
    await manager.until_reported("tank", "level")
    rest = stage.rest_of(mapper)
    before = (await rest.counts())["dmi_mapper_acknowledged_readings_total"]
    assert await program.stop(SOON) == 0
    mapper.pause()
    await program.start()
    level = (await manager.twin("tank", "level"))["reported"]["value"]
    # Three readings a look, one of them the counter, which began with 1.
    assert level >= before / 3
    mapper.resume()


async def test_a_mapper_ends_and_delivers_what_it_has_read(stage):
    async with ModbusSimulator() as simulator:
        stage.write("boiler.yaml", BOILER_MODEL, boiler(simulator.port, cycle=50))
        _, manager = await stage.manager()
        mapper = await stage.mapper(driver="modbus")
        await manager.until_reported("boiler", "temperature")
        assert await mapper.stop(SOON) == 0
        assert not simulator.connections
        status = await manager.until_state("boiler", "unknown", "mapper_gone", seconds=2)
        assert status["mapper"] == ""
        # One request for each register kind and look, one reading each: all have arrived.
        reads = sum(function in (1, 3, 4) for _, function, _ in simulator.requests)
        assert (await manager.counts())["dmi_readings_total"] == reads


async def test_a_v1beta1_mapper_ends_and_takes_its_socket_away(stage):
    stage.write("tank.yaml", TANK_MODEL, tank(cycle=500))
    _, manager = await stage.manager()
    mapper = await stage.mapper("--link", "v1beta1")
    await manager.until_reported("tank", "level")
    own = stage.folder / "virtual-mapper.sock"
    assert own.exists()
    assert await mapper.stop(SOON) == 0
    assert not own.exists()


async def test_a_mapper_without_a_manager_ends(stage):
    mapper = await stage.mapper()
    began = time.monotonic()
    assert await mapper.stop(SOON) == 0
    assert time.monotonic() - began < SOON


async def test_a_mapper_whose_manager_hangs_ends_within_its_grace(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager()
    mapper = await stage.mapper("--grace", "1")
    await manager.until_reported("tank", "level")
    program.pause()
    assert await mapper.stop(SOON) == 0


async def test_a_simulator_ends(stage):
    simulator = await stage.simulator()
    assert await simulator.stop(SOON) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
async def test_told_while_it_starts(stage, number):
    """Whenever the signal comes: it ends, without a traceback and with nothing left."""
    program = stage.program("manager", *stage.manager_words())
    for wait in (0.3, 0.6, 0.9):
        program.launch()
        moment = time.monotonic() + wait
        await until("some time has passed", lambda: time.monotonic() > moment)  # noqa: B023 - now
        program.signal(number)
        code = await program.code(SOON)
        # Before it has taken the signal over, Python itself ends by it.
        assert code in (0, -number, 130)
        assert not stage.socket.exists()


async def test_the_command_line_survives_a_manager_that_ends(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, _ = await stage.manager()
    assert (await stage.dmi("get", "devices"))[0] == 0
    assert await program.stop(SOON) == 0
    code, out, err = await stage.dmi("get", "devices")
    assert (code, out) == (4, "")
    assert "no device manager answers" in err
