"""Follow every change that a device manager knows of, and miss none when the line breaks.

Needs a running manager (`dmi demo` prints the address of one), and nothing but the standard
library: server-sent events are lines of text, and `Last-Event-ID` says where to go on.
"""

import argparse
import itertools
import json
import time
import urllib.request
from collections.abc import Iterator


def changes(url: str) -> Iterator[dict[str, object]]:
    """Give change after change, for ever; a `gap` event tells of those that are lost."""
    last = ""
    while True:
        request = urllib.request.Request(url, headers={"Last-Event-ID": last})  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=60) as lines:  # noqa: S310 - ours
                for line in lines:
                    field, _, value = line.decode().strip().partition(": ")
                    if field == "id":
                        last = value
                    elif field == "data":
                        yield json.loads(value)
        except OSError as error:
            print(f"({error}; going on after {last or 'now'})")
            time.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manager", nargs="?", default="http://127.0.0.1:10350")
    parser.add_argument("--count", type=int, help="end after so many changes")
    options = parser.parse_args()
    found = changes(f"{options.manager}/api/v1/changes?types=twin,state,desired")
    for change in itertools.islice(found, options.count):
        print(json.dumps(change))
