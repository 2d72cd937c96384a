"""A driver of your own: a kettle, simulated right here. The mapper serves it over REST."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver
from mapper_sdk.program import run_mapper


class Link(BaseModel):
    """How a kettle is reached: `configData` of the Device's protocol."""

    room: float = 20.0


class Visit(BaseModel):
    """How a property is reached: `configData` of its visitors."""

    item: Literal["temperature", "setpoint"]


class KettleDriver(Driver[Link, Visit]):
    """Everything else (polling, retries, twins, REST) is the toolkit's."""

    protocol_name, link_model, visit_model = "kettle", Link, Visit

    async def connect(self) -> None:
        self.water = {"temperature": self.link.room, "setpoint": 60.0}

    async def read(self, visits: Sequence[Visit]) -> Sequence[Answer]:
        self.water["temperature"] += (self.water["setpoint"] - self.water["temperature"]) / 10
        return [self.water[visit.item] for visit in visits]

    async def write(self, visit: Visit, value: Value) -> None:
        self.water[visit.item] = float(value)

    async def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    print("curl http://127.0.0.1:7777/api/v1/devices/default/kettle/properties/temperature")
    files = str(Path(__file__).with_name("kettle.yaml"))
    sys.exit(run_mapper(KettleDriver, ["--devices", files, *sys.argv[1:]]))
