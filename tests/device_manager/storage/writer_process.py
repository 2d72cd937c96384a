"""A process that applies numbered reports for ever and says what was acknowledged; to be killed.

Batch n sets every counter to n, and one label that only batch n sets, so that a lost, a torn
and a twice applied batch each leave a trace.
"""

import asyncio
import sys

from device_manager.node import Node
from device_manager.records import TwinReading
from dmi.readings import Reading
from tests.device_manager.plants import PUMP, device, model

COUNTERS = [f"c{n}" for n in range(20)]
STREAM = "stream"


def say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(path):
    node = await Node.open(path)
    await node.apply(
        model(**dict.fromkeys(COUNTERS, "INT")), device(**dict.fromkeys(COUNTERS)), origin="api"
    )
    sequence = node.committed_sequence(STREAM)
    say(f"ready {sequence}")
    in_flight = set()
    async with asyncio.TaskGroup() as group:
        while True:
            sequence += 1
            readings = [TwinReading(PUMP, name, Reading(sequence, 1.0)) for name in COUNTERS]
            task = group.create_task(node.apply_report(STREAM, sequence, readings, [], []))
            task.add_done_callback(lambda _, n=sequence: say(n))
            in_flight.add(task)
            if len(in_flight) == 8:
                await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
                in_flight = {task for task in in_flight if not task.done()}


asyncio.run(main(sys.argv[1]))
