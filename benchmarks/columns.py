"""The bare floor below a fleet: protobuf columns filled, parsed and upserted, and nothing else."""

import sqlite3
import time
from pathlib import Path

from dmi.proto.v1 import api_pb2 as pb

__all__ = ["bare_columns"]


def bare_columns(folder: Path, readings: int, rounds: int) -> dict[str, float]:
    """CPU per reading of the libraries alone, in messages of so many readings.

    Returns:
        Microseconds for either side: filling and serializing a message of doubles; parsing
        it and replacing its rows in SQLite, in one transaction a message.
    """
    handles = list(range(readings))
    up, down = 0.0, 0.0
    connection = sqlite3.connect(folder / "columns.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE reading (twin INTEGER PRIMARY KEY, value REAL, time REAL)")
    for turn in range(rounds):
        begin = time.process_time()
        batch = pb.ReportBatch(sequence=turn + 1)
        batch.doubles.handle.extend(handles)
        batch.doubles.time_us.extend([1_790_000_000_000_000 + turn] * readings)
        batch.doubles.value.extend([turn + 0.5] * readings)
        message = batch.SerializeToString()
        middle = time.process_time()
        column = pb.ReportBatch.FromString(message).doubles
        rows = list(zip(column.handle, column.value, column.time_us, strict=True))
        connection.execute("BEGIN")
        connection.executemany("INSERT OR REPLACE INTO reading VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
        up, down = up + middle - begin, down + time.process_time() - middle
    connection.close()
    made = readings * rounds
    return {
        "fill_us_per_reading": round(up / made * 1e6, 2),
        "parse_and_upsert_us_per_reading": round(down / made * 1e6, 2),
    }
