"""Who hears the items of an OPC UA server: a mapper, or a bare asyncua subscription.

`python -m benchmarks.opcua_items ours|bare --url URL --items N --seconds S` prints one JSON line:
what came in that time, how many changes were missing, and what it cost.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from asyncua import Client, ua

from dmi.readings import Quality
from mapper_sdk.link.files import FilesLink
from mapper_sdk.mapper import Mapper
from mappers.opcua.driver import OpcuaDriver

__all__ = ["documents"]

_DEVICES: Final = 10
_NAMESPACE: Final = "urn:dmi-toolkit:plant"


class Ledger:
    """Counts changes, and the steps that a counting variable seems to have left out."""

    def __init__(self) -> None:
        self.last: dict[Any, float] = {}
        self.came = 0
        self.lost = 0

    def note(self, key: object, value: float) -> None:
        """Take one value in."""
        before = self.last.get(key)
        self.last[key] = value
        if before is None or value == before:
            return  # the first one, or the same by reading and by change
        self.came += 1
        self.lost += max(0, round(value - before) - 1)


def documents(url: str, items: int) -> list[dict[str, Any]]:
    """A model and devices that share the server's variables among them."""
    share = items // _DEVICES
    names = [f"v{n}" for n in range(share)]
    api = "devices.kubeedge.io/v1beta1"
    properties = [{"name": name, "type": "DOUBLE", "accessMode": "ReadOnly"} for name in names]
    model = {
        "apiVersion": api,
        "kind": "DeviceModel",
        "metadata": {"name": "rack"},
        "spec": {"protocol": "opcua", "properties": properties},
    }
    found = [model]
    for device in range(_DEVICES):
        visitors = [
            {
                "name": name,
                "collectCycle": 1000,
                "visitors": {
                    "protocolName": "opcua",
                    "configData": {"nodeID": f"nsu={_NAMESPACE};s=Rack.{device * share + n}"},
                },
            }
            for n, name in enumerate(names)
        ]
        spec = {
            "deviceModelRef": {"name": "rack"},
            "protocol": {"protocolName": "opcua", "configData": {"url": url}},
            "properties": visitors,
        }
        metadata = {"name": f"rack-{device}"}
        found.append({"apiVersion": api, "kind": "Device", "metadata": metadata, "spec": spec})
    return found


async def _ours(url: str, items: int, seconds: float) -> dict[str, Any]:
    ledger = Ledger()

    def listen(change: Any) -> None:  # noqa: ANN401 - readings, states and more
        if isinstance(change, list):
            for point, reading in change:
                if reading.quality is Quality.GOOD:
                    ledger.note(point.handle, reading.value)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "devices.yaml"
        file.write_text("\n---\n".join(map(json.dumps, documents(url, items))))
        mapper = Mapper(OpcuaDriver, FilesLink(file))
        mapper.add_listener(listen)
        running = asyncio.ensure_future(mapper.run())
        found = await _measure(ledger, items, seconds)
        running.cancel()
        await asyncio.wait([running])
    return found


async def _bare(url: str, items: int, seconds: float) -> dict[str, Any]:
    ledger = Ledger()

    class Handler:
        def datachange_notification(self, node: Any, value: float, data: Any) -> None:  # noqa: ANN401 - asyncua's
            ledger.note(data.subscription_data.client_handle, value)

    async with Client(url, timeout=30, watchdog_intervall=30) as client:
        index = await client.get_namespace_index(_NAMESPACE)
        nodes = [client.get_node(ua.NodeId(f"Rack.{n}", index)) for n in range(items)]
        subscription = await client.create_subscription(500, Handler())
        for start in range(0, items, 1000):
            await subscription.subscribe_data_change(nodes[start : start + 1000], queuesize=10)
        return await _measure(ledger, items, seconds)


async def _measure(ledger: Ledger, items: int, seconds: float) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while len(ledger.last) < items or ledger.came < 2 * items:  # noqa: ASYNC110 - at leisure
            await asyncio.sleep(0.05)
    came, lost = ledger.came, ledger.lost
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    cpu, taken = time.process_time() - cpu, time.monotonic() - began
    came = ledger.came - came
    return {
        "changes_per_s": round(came / taken, 1),
        "lost": ledger.lost - lost,
        "cpu_us_per_change": round(cpu / came * 1e6, 2),
        "cpu_percent": round(100 * cpu / taken, 1),
        "peak_mib": round(_peak_mib(), 1),
    }


def _peak_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("Linux tells VmHWM")


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("who", choices=("ours", "bare"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    run = _ours if options.who == "ours" else _bare
    print(json.dumps(asyncio.run(run(options.url, options.items, options.seconds))))


if __name__ == "__main__":
    _main()
