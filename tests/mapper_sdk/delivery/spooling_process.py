"""A process that delivers numbered readings to a store server, to be killed by a test.

Usage: spooling_process.py FOLDER PORT COUNT ALWAYS. It prints `READY`, then, every now and then,
how many readings are safe: taken by the server or on disk. At end of its input it ends in order.
"""

import asyncio
import sys
import time

from dmi.clock import SystemClock
from dmi.readings import Reading
from dmi.resources import AccessMode, DataType, Device, Key
from mapper_sdk.delivery.config import DeliveryConfig
from mapper_sdk.delivery.service import Delivery
from mapper_sdk.devices.plan import Plan, Point, Unserved
from mapper_sdk.sessions.polling import Poller
from tests.mapper_sdk.delivery.store_server import StoreSink

DEV = Key("default", "dev")
STEP = 50


async def feed(delivery, point, count):
    for first in range(0, count, STEP):
        for n in range(first, first + STEP):
            delivery.offer([(point, Reading(n, 1_790_000_000.0 + n))])
        await asyncio.sleep(0.005)
        (status,) = delivery.targets()
        sys.stdout.write(f"{status.delivered + status.spooled}\n")
        sys.stdout.flush()


async def main(folder, port, count, always):
    clock = SystemClock()
    poller = Poller(clock)
    point = Point(1, DEV, "p", DataType.INT, AccessMode.READ_ONLY, Unserved())
    device = Device.model_validate({"metadata": {"name": "dev"}, "spec": {}})
    plan = Plan(device, Unserved(), None, {"p": point}, [], None)
    sink = {
        "name": "store",
        "kind": "store",
        "target": {"port": port},
        "batch": {"seconds": 0.01},
        "spool": {"always": always},
    }
    settings = DeliveryConfig.model_validate({"folder": folder, "sinks": [sink]})
    delivery = Delivery(settings, lambda key: plan, poller, clock, class_of=lambda kind: StoreSink)
    sys.stdout.write("READY\n")
    sys.stdout.flush()
    try:
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(poller.run()), group.create_task(delivery.run())]
            await feed(delivery, point, count)
            await asyncio.to_thread(sys.stdin.read)
            await delivery.drain()
            for job in jobs:
                job.cancel()
    finally:
        sys.stdout.write(f"ENDED {time.time()}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "always"))
