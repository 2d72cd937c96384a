import asyncio
import threading
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from dmi.errors import RefusedError
from dmi.resources import Device, Key
from mapper_sdk.sync_driver import SyncDriver, Workers


class Link(BaseModel):
    address: str = "a"


class Visit(BaseModel):
    cell: int


@pytest.fixture
def machine():
    return SimpleNamespace(memory={1: 5.0}, hold=None, threads=set(), closes=threading.Semaphore(0))


@pytest.fixture
def driver_class(machine):
    class BlockingDriver(SyncDriver):
        protocol_name = "scripted"
        link_model = Link
        visit_model = Visit
        workers = Workers(4)

        def connect_blocking(self):
            machine.threads.add(threading.current_thread())

        def read_blocking(self, visits):
            machine.threads.add(threading.current_thread())
            if machine.hold is not None:
                machine.hold.wait(5)
            return [machine.memory.get(visit.cell, 0.0) for visit in visits]

        def write_blocking(self, visit, value):
            if value > 100:
                raise RefusedError("too much")
            machine.memory[visit.cell] = value

        def close_blocking(self):
            machine.closes.release()

    return BlockingDriver


async def test_calls_run_in_other_threads(driver_class, machine):
    driver = driver_class(Link())
    await driver.connect()
    await driver.write(Visit(cell=2), 7.0)
    assert await driver.read([Visit(cell=1), Visit(cell=2)]) == [5.0, 7.0]
    with pytest.raises(RefusedError, match="too much"):
        await driver.write(Visit(cell=2), 101.0)
    await driver.close()
    assert machine.closes.acquire(timeout=1)
    assert threading.main_thread() not in machine.threads


async def test_a_call_that_is_stuck_makes_its_device_unavailable_until_it_returns(
    plant, make, driver_class, machine
):
    driver_class.patience = 0.05
    plant.mapper._around.driver_class = driver_class
    plant.mapper.table._driver_class = driver_class
    machine.hold = threading.Event()
    data = make.device(t={"cell": 1}).to_json()
    plant.link.state_came.clear()
    async with plant.running():
        await plant.put(make.model(t={}), Device.model_validate(data))
        async with asyncio.timeout(5):
            await plant.link.state_came.wait()
        assert plant.state().reason == "deadline"
        await plant.clock.advance(2)
        assert plant.state().message == "an earlier call to the device has not returned yet"
        machine.hold.set()
        assert await asyncio.to_thread(machine.closes.acquire, timeout=5)
        plant.link.state_came.clear()
        await plant.clock.advance(60)
        async with asyncio.timeout(5):
            await plant.link.state_came.wait()
        assert plant.mapper.states[Key("default", "dev")].state == "online"


def test_the_pool_is_bounded():
    workers = Workers(2)
    gate, inside = threading.Event(), threading.Semaphore(0)
    names = set()

    def job():
        names.add(threading.current_thread().name)
        inside.release()
        gate.wait(5)

    futures = [workers.submit(job) for _ in range(6)]
    assert inside.acquire(timeout=1)
    assert inside.acquire(timeout=1)
    assert not inside.acquire(blocking=False)
    assert futures[-1].cancel()
    gate.set()
    for future in futures[:-1]:
        future.result(5)
    assert len(names) == 2


def test_an_idle_thread_is_used_again():
    workers = Workers(8)
    names = {workers.submit(lambda: threading.current_thread().name).result(5) for _ in range(20)}
    assert len(names) <= 3
