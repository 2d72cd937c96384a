"""A mapper linked straight to EdgeCore, without a manager: what its one call a second carries.

A stock EdgeCore admits 100 calls at once and then one a second, of all mappers of the node
together, and answers OK to values that it then drops. Here a faithful fake stands in for it;
the mapper's governor lets devices take turns, so that none is forgotten and no call refused.
"""

import argparse
import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from dmi.manifests import read_manifests
from dmi.reports import Registration
from dmi.resources import Device, DeviceModel, Metadata
from mapper_sdk.link.v1beta1 import V1Beta1Link
from mapper_sdk.mapper import Mapper
from mapper_sdk.testing import FakeEdgeCore
from mapper_sdk.virtual import VirtualDriver

DEVICES = 60
ROOM = Path(__file__).parent / "03_devices_from_files" / "room.yaml"


async def fill(edgecore: FakeEdgeCore) -> None:
    """Let the cloud send many rooms, all of whose properties are to be reported."""
    for manifest in read_manifests(ROOM)[0]:
        item = manifest.object
        if isinstance(item, DeviceModel):
            await edgecore.put_model(item)
        elif isinstance(item, Device):
            told = [p.model_copy(update={"report_to_cloud": True}) for p in item.spec.properties]
            spec = item.spec.model_copy(update={"properties": told})
            for number in range(DEVICES):
                metadata = Metadata(name=f"room-{number}")
                await edgecore.put_device(
                    item.model_copy(update={"metadata": metadata, "spec": spec})
                )


async def main(seconds: float) -> None:
    """Say every second what has arrived."""
    with tempfile.TemporaryDirectory() as folder:
        edgecore = FakeEdgeCore(Path(folder, "dmi.sock"))
        await fill(edgecore)
        me = Registration("rooms", "virtual", address=str(Path(folder, "rooms.sock")))
        link = V1Beta1Link(edgecore.path, me)
        async with edgecore, asyncio.TaskGroup() as group:
            running = group.create_task(Mapper(VirtualDriver, link).run())
            for second in range(1, round(seconds) + 1):
                await asyncio.sleep(1)
                calls = Counter("refused" if call.refused else call.name for call in edgecore.calls)
                print(f"{second:3} s: {len(edgecore.devicetwin.twins)} devices, {dict(calls)}")
            running.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="seconds", type=float, default=20.0, metavar="SECONDS")
    asyncio.run(main(parser.parse_args().seconds))
