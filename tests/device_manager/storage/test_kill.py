"""What was acknowledged survives SIGKILL, and what comes again is applied once."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from device_manager.node import Node
from device_manager.records import TwinReading
from dmi.readings import Reading
from tests.device_manager.plants import PUMP

PROGRAM = Path(__file__).with_name("writer_process.py")


async def run_and_kill(path, chance):
    """Let the writer go on for a random number of acknowledgements, then kill it."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, path, stdout=asyncio.subprocess.PIPE
    )
    start = int((await writer.stdout.readline()).split()[1])
    for _ in range(chance.randrange(1, 400)):
        await writer.stdout.readline()
    writer.kill()
    rest, _ = await writer.communicate()
    lines = rest.decode().split("\n")
    # A last line without its end is an acknowledgement that nobody got.
    return start, [int(line) for line in lines[:-1] if line]


def values(node):
    return {twin.reported.value for twin in node.twins(PUMP).values()}


@pytest.mark.process
@pytest.mark.timeout(60)
async def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path):
    path = tmp_path / "node.db"
    chance = random.Random(9)  # noqa: S311 - no secret
    known = 0
    for _ in range(6):
        start, acknowledged = await run_and_kill(path, chance)
        assert start >= known
        known = max([start, *acknowledged])
        node = await Node.open(path)
        committed = node.committed_sequence("stream")
        assert committed >= known
        # One batch or another, never half of one, and exactly the one the stream says.
        assert values(node) == {committed}
        again = [TwinReading(PUMP, name, Reading(-1, 1.0)) for name in node.twins(PUMP)]
        await node.apply_report("stream", committed, again, [], [])
        assert values(node) == {committed}
        await node.close()
        known = committed
