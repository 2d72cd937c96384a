"""OPC UA: values read in batches by the driver, beside asyncua's own `read_values`."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from asyncua import Client, ua

from benchmarks.measured import Measured
from benchmarks.processes import program, scratch_folder
from mapper_sdk.sessions.bus import Bus
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.visit import OpcuaVisit

__all__ = ["TARGET", "measure"]

TARGET: Final = "batched reads: at least 0.7 x the rate of bare read_values"

_LEAST_RATIO: Final = 0.7
_NAMESPACE: Final = "urn:dmi-toolkit:plant"


async def measure(*, quick: bool) -> Measured:
    """Read the same variables in turns with one and the other."""
    items, rounds = (50, 3) if quick else (1000, 40)
    async with scratch_folder() as folder:
        serve = ["-m", "dmi_cli", "simulate", "opcua", "--port", "0", "--ready-json"]
        serve += ["--items", str(items)]
        async with program(serve, folder / "server.log") as server:
            return await _compare(server.ready["url"], items, rounds)


async def _compare(url: str, items: int, rounds: int) -> Measured:
    names = [f"Rack.{n}" for n in range(items)]
    visits = [OpcuaVisit.model_validate({"nodeID": f"nsu={_NAMESPACE};s={n}"}) for n in names]
    driver = OpcuaDriver(OpcuaLink.model_validate({"url": url}))
    driver.bus = Bus()
    await driver.connect()
    async with Client(url) as client:
        index = await client.get_namespace_index(_NAMESPACE)
        nodes = [client.get_node(ua.NodeId(name, index)) for name in names]
        ours = bare = 0.0
        await driver.read(visits)
        for _ in range(rounds):
            ours += await _seconds(lambda: driver.read(visits))
            bare += await _seconds(lambda: client.read_values(nodes))
    await driver.close()
    total = items * rounds
    ratio = round(bare / ours, 2)
    figures = {"values_per_s": round(total / ours), "rate_ratio": ratio}
    return Measured(figures, ratio >= _LEAST_RATIO, {"values_per_s": round(total / bare)})


async def _seconds(read: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await read()
    return time.perf_counter() - began
