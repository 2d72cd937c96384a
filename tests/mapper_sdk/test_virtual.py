import pytest

from dmi.errors import RefusedError, UnavailableError
from mapper_sdk.virtual import VirtualDriver, VirtualLink, VirtualVisit


@pytest.fixture
async def driver():
    made = VirtualDriver(VirtualLink(latency=0.001))
    await made.connect()
    yield made
    await made.close()


async def test_a_memory_keeps_what_is_written(driver):
    one, two = VirtualVisit(initial=3), VirtualVisit(initial="on")
    assert await driver.read([one, two]) == [3, "on"]
    await driver.write(one, 4)
    assert await driver.read([one, two]) == [4, "on"]
    await driver.close()
    assert await driver.read([one]) == [3]


async def test_waves_and_counters_move_and_refuse_to_be_written(driver):
    wave, counter = VirtualVisit(shape="sine", amplitude=2.0), VirtualVisit(shape="counter")
    (height, first), (_, second) = [await driver.read([wave, counter]) for _ in range(2)]
    assert -2.0 <= height <= 2.0
    assert second == first + 1
    for visit in (wave, counter, VirtualVisit(shape="toggle")):
        with pytest.raises(RefusedError):
            await driver.write(visit, 1)


async def test_counters_begin_and_step_as_told_and_toggles_take_turns():
    driver = VirtualDriver(VirtualLink(start=7))
    counter, toggle = VirtualVisit(shape="counter", step=0.25), VirtualVisit(shape="toggle")
    assert await driver.read([counter, toggle]) == [2.0, True]
    assert await driver.read([counter, toggle]) == [2.25, False]


async def test_a_device_can_be_declared_unreachable():
    with pytest.raises(UnavailableError):
        await VirtualDriver(VirtualLink(reachable=False)).connect()
