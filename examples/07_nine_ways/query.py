"""Way 5: an app asks the database, and not the mapper."""

import argparse
import sqlite3
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--database", type=Path, default=Path("readings.db"))
options = parser.parse_args()

database = sqlite3.connect(f"file:{options.database}?mode=ro", uri=True)
rows = database.execute(
    "SELECT utc, property, value, unit FROM readings"
    " WHERE device = 'kettle' ORDER BY time DESC LIMIT 5"
)
for row in rows:
    print(*row)
