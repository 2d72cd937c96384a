"""`python -m benchmarks [NAME ...]`: run benchmarks, each in a process of its own."""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

__all__ = ["NAMES", "main"]

NAMES: Final = (
    "fleet_1s",
    "fleet_100ms",
    "reading_cost",
    "store",
    "modbus_read",
    "opcua_push",
    "opcua_read",
    "opcua_restart",
    "edgecore",
    "desired",
    "rest_latest",
    "rest_beside",
    "sse",
    "footprint",
    "ble_read",
    "ble_adverts",
    "ble_slots",
    "sql_sinks",
    "influx_lines",
    "mqtt_sink",
    "http_sink",
    "delivery_fanout",
    "delivery_real",
    "delivery_spool",
    "delivery_outage",
    "delivery_10k",
)
"""Each is a module here with TARGET, in words, and `async def measure(*, quick)`."""

_LIBRARIES: Final = (
    "grpcio",
    "protobuf",
    "fastapi",
    "uvicorn",
    "pymodbus",
    "asyncua",
    "pydantic",
    "bleak",
    "bumble",
    "asyncpg",
    "asyncmy",
    "influxdb-client",
    "paho-mqtt",
    "aiohttp",
)


def main() -> int:
    """Run what is asked for; 1 if a benchmark broke. A missed target is only told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work at all?")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there too")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    strange = [name for name in options.names if name not in NAMES]
    if strange:
        parser.error(f"no such benchmark: {', '.join(strange)}; there is: {', '.join(NAMES)}")
    if options.inside:
        print(json.dumps(_measure(options.names[0], quick=options.quick)))
        return 0
    found = [_run_apart(name, quick=options.quick) for name in options.names or NAMES]
    text = json.dumps({"machine": _machine(), "benchmarks": found}, indent=2)
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n", encoding="utf-8")
    return 1 if any("error" in one for one in found) else 0


def _measure(name: str, *, quick: bool) -> dict[str, Any]:
    module = import_module(f"benchmarks.{name}")
    found = asyncio.run(module.measure(quick=quick))
    return {
        "name": name,
        "figures": found.figures,
        "bare": found.bare,
        "target": module.TARGET,
        "met": found.met,
    }


def _run_apart(name: str, *, quick: bool) -> dict[str, Any]:
    sys.stderr.write(f"{name} ...\n")
    begin = time.monotonic()
    command = [sys.executable, "-m", "benchmarks", "--inside", name, *["--quick"] * quick]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    taken = time.monotonic() - begin
    if ended.returncode:
        sys.stderr.write(f"{name}: broken after {taken:.0f} s\n")
        return {"name": name, "error": f"ended with code {ended.returncode}", "met": False}
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    verdict = "met" if found["met"] else "MISSED"
    sys.stderr.write(f"{name}: {verdict} ({found['target']}), {taken:.0f} s\n")
    return found


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_name(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
