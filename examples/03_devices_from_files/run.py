"""A mapper inside your own program: no manager, devices from the files beside this one.

Edit `room.yaml` while it runs, or copy it under another device's name: it is watched.
"""

import argparse
import asyncio
import contextlib
from pathlib import Path

from mapper_sdk.link.files import FilesLink
from mapper_sdk.mapper import Mapper
from mapper_sdk.virtual import VirtualDriver


def show(change: object) -> None:
    """Print one line for each reading; states and outcomes come here too."""
    if isinstance(change, list):
        for point, reading in change:
            print(f"{point.device.name:8} {point.name:12} {reading.value!r} {point.unit}")
    else:
        print(change)


async def main(seconds: float | None) -> None:
    """Serve until Ctrl-C, or for so long."""
    mapper = Mapper(VirtualDriver, FilesLink(Path(__file__).parent))
    mapper.add_listener(show)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await mapper.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args().seconds))
