"""Power-cycling an adapter, against a bus that answers as BlueZ and D-Bus do."""

import asyncio

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.errors import AuthError

from dmi.errors import AccessDeniedError, UnavailableError
from mappers.ble.radio import bluez, open_radio


class Bus:
    """Answers each call by the next of `replies`: None is fine, text an error's name."""

    def __init__(self, *replies, on_connect=None):
        self.replies = list(replies)
        self.on_connect = on_connect
        self.calls = []
        self.open = False

    def __call__(self, bus_type):
        return self

    async def connect(self):
        if self.on_connect is not None:
            raise self.on_connect
        self.open = True

    def disconnect(self):
        self.open = False

    async def call(self, message):
        name, value = message.body[1], message.body[2].value
        self.calls.append((message.path, message.interface, message.member, name, value))
        reply = self.replies.pop(0)
        if reply is TimeoutError:
            await asyncio.Event().wait()
        if reply is None:
            return Message(message_type=MessageType.METHOD_RETURN, reply_serial=1)
        return Message(
            message_type=MessageType.ERROR,
            reply_serial=1,
            error_name=reply,
            signature="s",
            body=["that is why"],
        )


@pytest.fixture
def bus(monkeypatch):
    def become(*replies, **options):
        made = Bus(*replies, **options)
        monkeypatch.setattr(bluez, "MessageBus", made)
        return made

    return become


async def test_off_and_on(bus):
    made = bus(None, None)
    async with open_radio("hci1") as radio:
        await radio.power_cycle()
    call = ("/org/bluez/hci1", "org.freedesktop.DBus.Properties", "Set", "Powered")
    assert made.calls == [(*call, False), (*call, True)]
    assert not made.open


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("org.freedesktop.DBus.Error.UnknownObject", UnavailableError),
        ("org.freedesktop.DBus.Error.ServiceUnknown", UnavailableError),
        ("org.bluez.Error.Busy", UnavailableError),
        ("org.freedesktop.DBus.Error.AccessDenied", AccessDeniedError),
        ("org.bluez.Error.NotAuthorized", AccessDeniedError),
    ],
)
async def test_refused(bus, name, error):
    made = bus(None, name)
    with pytest.raises(error, match=r"hci0: .* that is why"):
        await bluez.power_cycle("hci0")
    assert not made.open


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (FileNotFoundError("no socket"), UnavailableError),
        (EOFError("hung up"), UnavailableError),
        (AuthError("who are you"), AccessDeniedError),
    ],
)
async def test_no_bus(bus, cause, error):
    bus(on_connect=cause)
    with pytest.raises(error, match="D-Bus"):
        await bluez.power_cycle("hci0")


async def test_an_adapter_that_does_not_come_back(bus, monkeypatch):
    monkeypatch.setattr(bluez, "_PATIENCE", 0.05)
    made = bus(None, TimeoutError)
    with pytest.raises(UnavailableError, match="does not come back"):
        await bluez.power_cycle("hci0")
    assert not made.open
