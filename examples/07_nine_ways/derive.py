"""Way 9: an app on the node that works something out and hands it in as a reading."""

import argparse
from collections import deque
from datetime import datetime
from pathlib import Path
from statistics import fmean

from mapper_sdk.client import Client

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="https://127.0.0.1:7777")
parser.add_argument("--ca", type=Path, default=Path("rest.crt"))
parser.add_argument("--token-file", type=Path, default=Path("app.token"))
parser.add_argument("--count", type=int, default=0, help="end after so many averages")
options = parser.parse_args()

window: deque[float] = deque(maxlen=10)
done = 0
with Client(options.url, ca=options.ca, token_file=options.token_file) as mapper:
    for change in mapper.changes(device="default/kettle", kinds=["readings"]):
        for reading in change.data.get("readings", ()):
            if reading["property"] != "temperature" or reading["quality"] != "good":
                continue
            window.append(reading["value"])
            when = datetime.fromisoformat(reading["time"])
            mapper.derive("default/kettle", "average", round(fmean(window), 2), time=when)
            print(when.isoformat(), round(fmean(window), 2), flush=True)
            done += 1
        if done == options.count != 0:
            break
