"""What the test in the guest runs beside itself: bluetoothd, and a whole mapper."""

import asyncio
import json
import sys
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

REST = "http://127.0.0.1:7700/api/v1"
DEVICES = Path("/run/devices.yaml")


@asynccontextmanager
async def running(name, *command):
    """A program, for the length of a block; its output goes to /run/NAME.log."""
    with Path(f"/run/{name}.log").open("ab") as log:  # noqa: ASYNC230 - nothing else runs yet
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            elif process.returncode:
                log.write(f"ended by itself: {process.returncode}\n".encode())
            await process.wait()


def bluetoothd(*options):
    return running("bluetoothd", "/usr/libexec/bluetooth/bluetoothd", "-n", *options)


def mapper():
    """`dmi mapper ble` as a gateway runs it; see `serve`."""
    words = ["-m", "dmi_cli", "mapper", "ble", "--rest", REST[7:21], "--devices", str(DEVICES)]
    return running("mapper", sys.executable, *words)


def serve(devices):
    """Give the mapper these devices, as a file that it watches; see `device`."""
    new = DEVICES.with_suffix(".new")
    new.write_text("\n---\n".join(map(json.dumps, devices)))
    new.replace(DEVICES)


def device(name, link, properties):
    """A model and a device; each property is its visitor's settings and its declared type."""
    declared = [
        {"name": key, "type": kind, "accessMode": "ReadWrite"}
        for key, (kind, _) in properties.items()
    ]
    served = [
        {
            "name": key,
            "collectCycle": 1000,
            "visitors": {"protocolName": "ble", "configData": settings},
        }
        for key, (_, settings) in properties.items()
    ]
    version = "devices.kubeedge.io/v1beta1"
    model = {"protocol": "ble", "properties": declared}
    spec = {
        "deviceModelRef": {"name": name},
        "protocol": {"protocolName": "ble", "configData": {"radio": "hci0", **link}},
        "properties": served,
    }
    for kind, content in (("DeviceModel", model), ("Device", spec)):
        yield {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": content}


def ask(path):
    """What the mapper's REST says; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"{REST}/{path}", timeout=5) as answer:  # noqa: S310 - ours
            return yaml.safe_load(answer.read())
    except OSError:
        return None


async def states():
    """State and reason of each device of the mapper."""
    found = await asyncio.to_thread(ask, "devices")
    return {one["name"]: (one["state"], one["reason"]) for one in (found or {}).get("items", [])}


async def value(name, prop):
    """The last value of a property of the mapper, or None."""
    found = await asyncio.to_thread(ask, f"devices/default/{name}/properties/{prop}")
    return (found or {}).get("value")
