"""Set a desired value, and know that the device has it.

Needs a running manager (`dmi demo` prints the address of one). It keeps the wish even while the
device is away; `wait` lets the answer wait until the device has confirmed it, or refused.
"""

import argparse
import sys

import httpx

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("value", nargs="?", type=float, default=60.0)
    parser.add_argument("--manager", default="http://127.0.0.1:10350")
    parser.add_argument("--device", default="default/boiler")
    parser.add_argument("--property", default="setpoint")
    options = parser.parse_args()

    twin = f"{options.manager}/api/v1/devices/{options.device}/twins/{options.property}"
    answer = httpx.put(f"{twin}/desired", params={"wait": 10}, json={"value": options.value})
    if answer.is_error:
        problem = answer.json()  # RFC 9457; `reason` is a word for programs
        sys.exit(f"{problem['reason']}: {problem['detail']}")
    desired, reported = answer.json()["desired"], answer.json()["reported"]
    print(f"desired {desired['value']}: {desired['status']}; the device reads {reported['value']}")
    sys.exit(0 if desired["status"] == "confirmed" else 1)
