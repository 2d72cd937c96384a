"""The gaps of a ledger as rows of its target's file."""

import sqlite3
from collections.abc import Mapping
from typing import Final

from dmi.resources import Key
from mapper_sdk.delivery.status import Gap

__all__ = ["read_gaps", "write_gaps"]

_AGE: Final = 90 * 86_400.0
"""Seconds after which nobody asks for a gap any more."""


def read_gaps(db: sqlite3.Connection, target: str, now: float) -> dict[int, Gap]:
    """Give all gaps by number, and delete those of long ago."""
    db.execute("DELETE FROM gaps WHERE noted < ?", (now - _AGE,))
    found: dict[int, Gap] = {}
    for number, namespace, device, name, reason, first, last, count, noted in db.execute(
        "SELECT * FROM gaps ORDER BY id"
    ):
        key = Key(namespace, device)
        found[number] = Gap(target, key, name, first, last, count, reason, noted)
    return found


def write_gaps(db: sqlite3.Connection, gaps: Mapping[int, Gap]) -> None:
    """Write these gaps, new or changed."""
    db.executemany(
        "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (n, *gap.device, gap.property, gap.reason, gap.first, gap.last, gap.count, gap.noted)
            for n, gap in gaps.items()
        ],
    )
