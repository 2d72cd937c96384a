"""OPC UA: how soon all items flow again after their server was killed and started again."""

import asyncio
import time
from typing import Final

from benchmarks.measured import Measured, progress
from benchmarks.processes import program, scratch_folder
from dmi.readings import Reading
from mapper_sdk.bus import Bus
from mapper_sdk.driver import Answer
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.session.ladder import Rung
from mappers.opcua.visit import OpcuaVisit

__all__ = ["TARGET", "measure"]

TARGET: Final = "after a server restart all items flow again within 10 s"

_MOST_SECONDS: Final = 10.0


async def measure(*, quick: bool) -> Measured:
    """Subscribe, kill the server, start it again at its port, and wait for every item."""
    items = 100 if quick else 10_000
    async with scratch_folder() as folder:
        serve = ["-m", "dmi_cli", "simulate", "opcua", "--ready-json", "--items", str(items)]
        heard: set[int] = set()
        bell = asyncio.Event()

        def publish(index: int, answer: Answer) -> None:
            if isinstance(answer, Reading) and answer.value is not None:
                heard.add(index)
                if len(heard) == items:
                    bell.set()

        async with program([*serve, "--port", "0"], folder / "first.log") as server:
            url, port = server.ready["url"], server.ready["port"]
            # Long: how fast a server starts is not what is measured.
            driver = OpcuaDriver(OpcuaLink.model_validate({"url": url, "recoveryTime": 60}))
            driver.bus = Bus()
            await driver.connect()
            node = "nsu=urn:dmi-toolkit:plant;s=Rack."
            visits = [OpcuaVisit.model_validate({"nodeID": f"{node}{n}"}) for n in range(items)]
            await driver.subscribe(visits, publish)
            await asyncio.wait_for(bell.wait(), 60)
        progress(f"opcua_restart: {items} items, the server is gone")
        heard.clear()
        bell.clear()
        async with program([*serve, "--port", str(port)], folder / "second.log"):
            began = time.monotonic()
            await asyncio.wait_for(bell.wait(), 60)
            taken = time.monotonic() - began
            figures = {
                "items": items,
                "seconds_from_listening": round(taken, 2),
                "subscriptions_made_anew": driver.tally[Rung.RECREATE.value],
            }
            await driver.close()
    return Measured(figures, taken <= _MOST_SECONDS, {"allowed_s": _MOST_SECONDS})
