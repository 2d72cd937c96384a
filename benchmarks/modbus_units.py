"""A real pymodbus server with many units, and the by-hand client loop that reads them.

`python -m benchmarks.modbus_units serve|read ...` runs either in a process of its own.
"""

import argparse
import asyncio
import json
import mmap
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

__all__ = ["BLOCKS", "Counts", "devices", "model"]

BLOCKS: Final = 5
"""Requests that one unit needs by the driver's default limits: its ten values lie in three
tables, and in the holding registers two holes are wider than the 16 that are bridged."""

_VALUES: Final = (
    ("HoldingRegister", 0, "float32", "FLOAT"),
    ("HoldingRegister", 2, "float32", "FLOAT"),
    ("HoldingRegister", 4, "int16", "INT"),
    ("HoldingRegister", 10, "uint16", "INT"),
    ("HoldingRegister", 40, "int32", "INT"),
    ("HoldingRegister", 160, "float32", "FLOAT"),
    ("HoldingRegister", 162, "uint16", "INT"),
    ("CoilRegister", 3, "bool", "BOOLEAN"),
    ("CoilRegister", 200, "bool", "BOOLEAN"),
    ("InputRegister", 5, "int16", "INT"),
)
_COUNTS: Final = struct.Struct("=QQ")
_READ_INPUT: Final = 4


class Counts:
    """How many requests have come, in memory that the server shares by a file."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(_COUNTS.size))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _COUNTS.size)

    def read(self) -> tuple[int, int]:
        """All requests, and those for input registers: each look at a unit needs one."""
        total, looks = _COUNTS.unpack(self._memory[:])
        return total, looks

    def add(self, function: int) -> None:
        """Count a request."""
        total, looks = self.read()
        self._memory[:] = _COUNTS.pack(total + 1, looks + (function == _READ_INPUT))


def model() -> dict[str, Any]:
    """The DeviceModel of the units."""
    return {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": {"name": "unit"},
        "spec": {
            "protocol": "modbus",
            "properties": [
                {
                    "name": f"value-{index}",
                    "type": kind,
                    "accessMode": "ReadOnly",
                    "visitors": {
                        "protocolName": "modbus",
                        "configData": {"register": table, "offset": offset, "type": word},
                    },
                }
                for index, (table, offset, word, kind) in enumerate(_VALUES)
            ],
        },
    }


def devices(port: int, units: int, collect_ms: int) -> list[dict[str, Any]]:
    """One Device for each unit, all behind one endpoint."""
    return [
        {
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "Device",
            "metadata": {"name": f"unit-{unit}"},
            "spec": {
                "deviceModelRef": {"name": "unit"},
                "protocol": {
                    "protocolName": "modbus",
                    "configData": {"host": "127.0.0.1", "port": port, "unit": unit},
                },
                "properties": [
                    {"name": f"value-{index}", "collectCycle": collect_ms}
                    for index in range(len(_VALUES))
                ],
            },
        }
        for unit in range(1, units + 1)
    ]


async def _serve(units: int, counts: Counts) -> None:
    def trace(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            counts.add(pdu.function_code)
        return pdu

    server = ModbusTcpServer(
        [_unit(number) for number in range(1, units + 1)],
        address=("127.0.0.1", 0),
        trace_pdu=trace,
    )
    await server.listen()
    port = cast("asyncio.Server", server.transport).sockets[0].getsockname()[1]
    print(json.dumps({"port": port}), flush=True)
    await _told_to_stop()
    await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus annotates nothing here


def _unit(number: int) -> SimDevice:
    coils, inputs = (SimData(0, count=256, values=True, datatype=DataType.BITS) for _ in range(2))
    holding, input_ = (
        SimData(0, count=200, values=number, datatype=DataType.REGISTERS) for _ in range(2)
    )
    return SimDevice(number, ([coils], [inputs], [holding], [input_]))


async def _read(port: int, units: int, cycle: float) -> None:
    """What somebody would write by hand: all blocks of all units, one after the other."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    print(json.dumps({"reading": True}), flush=True)
    latest: dict[int, list[object]] = {}
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(_read_for_ever(client, units, cycle, latest))
        await _told_to_stop()
        loop.cancel()
    client.close()


async def _read_for_ever(
    client: AsyncModbusTcpClient, units: int, cycle: float, latest: dict[int, list[object]]
) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        for unit in range(1, units + 1):
            latest[unit] = await _read_unit(client, unit)
        due += cycle
        await asyncio.sleep(due - loop.time())


async def _read_unit(client: AsyncModbusTcpClient, unit: int) -> list[object]:
    kind = ModbusClientMixin.DATATYPE
    decode: Callable[..., object] = client.convert_from_registers
    low = (await client.read_holding_registers(0, count=11, device_id=unit)).registers
    middle = (await client.read_holding_registers(40, count=2, device_id=unit)).registers
    high = (await client.read_holding_registers(160, count=3, device_id=unit)).registers
    coils = (await client.read_coils(3, count=198, device_id=unit)).bits
    inputs = (await client.read_input_registers(5, count=1, device_id=unit)).registers
    return [
        decode(low[0:2], kind.FLOAT32),
        decode(low[2:4], kind.FLOAT32),
        decode(low[4:5], kind.INT16),
        decode(low[10:11], kind.UINT16),
        decode(middle, kind.INT32),
        decode(high[0:2], kind.FLOAT32),
        decode(high[2:3], kind.UINT16),
        coils[0],
        coils[197],
        decode(inputs, kind.INT16),
    ]


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main() -> None:
    """Serve, or read, until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modbus_units")
    parser.add_argument("role", choices=("serve", "read"))
    parser.add_argument("--units", type=int, required=True)
    parser.add_argument("--counts", type=Path, help="serve: file that shares the counts")
    parser.add_argument("--port", type=int, help="read: where the server is")
    parser.add_argument("--cycle", type=float, help="read: seconds from one round to the next")
    options = parser.parse_args()
    if options.role == "serve":
        asyncio.run(_serve(options.units, Counts(options.counts)))
    else:
        asyncio.run(_read(options.port, options.units, options.cycle))


if __name__ == "__main__":
    main()
