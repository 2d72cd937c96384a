"""Ways 1 and 2: an app asks when it wants to know, on the node or from another machine."""

import argparse
from pathlib import Path

from mapper_sdk.client import Client

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="https://127.0.0.1:7777")
parser.add_argument("--ca", type=Path, default=Path("rest.crt"))
parser.add_argument("--token-file", type=Path, default=Path("app.token"))
options = parser.parse_args()

with Client(options.url, ca=options.ca, token_file=options.token_file) as mapper:
    last = mapper.read("default/kettle", "temperature")
    now = mapper.read("default/kettle", "temperature", live=True)
    print(f"{last.age:.1f} s ago {last.value} {last.unit}, and now {now.value} {now.unit}")
