"""A sink in the test's own process, which does what the test says."""

import asyncio
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from mapper_sdk.delivery.sink import Settings, Sink


class FakeTarget(Settings):
    address: Annotated[str, AfterValidator(str.lower)] = Field(
        default="here", description="Which of the fake servers."
    )
    password: str = Field(default="", description="Anything.")


class FakePlace(Settings):
    table: str = Field(default="t", description="A word for the test.")


class FakeServer:
    """What a fake target has, and how it behaves."""

    def __init__(self):
        self.taken = []  # (device, property, time) in order of arrival
        self.values = {}
        self.batches = []
        self.opens = self.closes = 0
        self.error = None  # raised by open and send
        self.send_error = None  # raised by send
        self.refuse = None  # gives an error for an item, or None
        self.hold = None  # an event that sends wait for
        self.target = None

    @property
    def count(self):
        return len(self.taken)

    def doubles(self):
        return len(self.taken) - len(set(self.taken))


def make_fake_kind(server_of, name="fake"):
    """A class of sinks; `server_of` gives the server of an address."""

    class FakeSink(Sink[FakeTarget, FakePlace]):
        kind: ClassVar[str] = name
        target_model = FakeTarget
        place_model = FakePlace
        batch = 100

        def __init__(self, target):
            super().__init__(target)
            self.server = server_of(target.address)
            self.server.target = target

        @classmethod
        def pushed(cls, declared):
            return {"address": declared.address}, {"table": declared.topic or "pushed"}

        async def open(self):
            if self.server.error is not None:
                raise self.server.error
            self.server.opens += 1

        async def send(self, items):
            server = self.server
            if server.hold is not None:
                await server.hold.wait()
            await asyncio.sleep(0)
            for error in (server.error, server.send_error):
                if error is not None:
                    raise error
            failed = {}
            for index, item in enumerate(items):
                error = server.refuse(item) if server.refuse else None
                if error is not None:
                    failed[index] = error
                    continue
                route, reading = item
                word = (route.source.device.name, route.source.property, reading.time)
                server.taken.append(word)
                server.values[word] = (route.place.table, reading.value)
            server.batches.append(len(items))
            return failed

        async def close(self):
            self.server.closes += 1

    return FakeSink
