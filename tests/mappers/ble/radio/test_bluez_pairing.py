"""Pairing by BlueZ, on a private D-Bus whose org.bluez asks the agent what BlueZ would."""

import asyncio
import os
import shutil

import pytest
from bleak.backends.device import BLEDevice
from dbus_fast import BusType, Message, MessageType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusObjectPath, DBusStr
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from dmi.errors import AccessDeniedError, UnavailableError
from mappers.ble.radio import PairingRefusedError, PairingWay, open_radio
from mappers.ble.radio.bluez import RefusedByBluezError, check, power_cycle
from mappers.ble.radio.bluez_pairing import pair
from mappers.ble.troubles import AdapterMissingError, AdapterOffError

PATH = "/org/bluez/hci0/dev_F0_00_00_00_00_02"
OTHER = "/org/bluez/hci0/dev_F0_00_00_00_00_03"


class AgentManager(ServiceInterface):
    """Remembers the agent."""

    def __init__(self):
        super().__init__("org.bluez.AgentManager1")
        self.registered = []

    @dbus_method("RegisterAgent")
    def register(self, agent: DBusObjectPath, capability: DBusStr):
        self.registered.append((agent, capability))


class Device(ServiceInterface):
    """Asks the agent of the caller `questions`, then says that it is paired, or `refusal`."""

    def __init__(self, bus):
        super().__init__("org.bluez.Device1")
        self.bus = bus
        self.agent = None
        self.questions = []
        self.answers = []
        self.refusal = None
        self.is_paired = False

    @dbus_property(access=PropertyAccess.READ)
    def Paired(self) -> DBusBool:
        return self.is_paired

    @dbus_method("Pair")
    async def pair(self):
        for member, signature, *body in self.questions:
            self.answers.append(await self.ask(member, signature, body))
        if self.refusal is not None:
            raise DBusError(self.refusal, "that is why")
        self.is_paired = True

    async def ask(self, member, signature, body):
        reply = await self.bus.call(
            Message(
                destination=self.agent,
                path="/dmi/pairing",
                interface="org.bluez.Agent1",
                member=member,
                signature=signature,
                body=body,
            )
        )
        return reply.error_name if reply.message_type is MessageType.ERROR else reply.body


@pytest.fixture
async def system_bus(monkeypatch, socket_dir):
    """A dbus-daemon of our own in the place of the system's."""
    daemon = shutil.which("dbus-daemon")
    if daemon is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs dbus-daemon")
        pytest.skip("NOT TESTED: there is no dbus-daemon")
    address = f"unix:path={socket_dir}/bus"
    process = await asyncio.create_subprocess_exec(
        *(daemon, "--session", "--nofork", "--nopidfile", "--print-address"),
        f"--address={address}",
        stdout=asyncio.subprocess.PIPE,
    )
    await process.stdout.readline()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    yield address
    process.terminate()
    await process.wait()


@pytest.fixture
async def device(system_bus):
    """The device of org.bluez; `manager` is its agent manager."""
    bus = await MessageBus(bus_address=system_bus, bus_type=BusType.SYSTEM).connect()
    found, manager = Device(bus), AgentManager()
    found.manager = manager

    def note_caller(message):
        # For what a connection asks, BlueZ asks the agent of that connection.
        if message.member == "RegisterAgent":
            found.agent = message.sender

    bus.add_message_handler(note_caller)
    bus.export(PATH, found)
    bus.export("/org/bluez", manager)
    await bus.request_name("org.bluez")
    yield found
    bus.disconnect()


def heater():
    return BLEDevice("F0:00:00:00:00:02", "heater", {"path": PATH})


@pytest.mark.parametrize(
    ("way", "capability"),
    [
        (PairingWay(), "NoInputNoOutput"),
        (PairingWay(passkey=12345), "KeyboardOnly"),
        (PairingWay(confirm=True), "DisplayYesNo"),
    ],
)
async def test_an_agent_is_there_for_the_time_of_pairing(device, way, capability):
    assert await pair(heater(), way) is False
    assert device.is_paired
    assert device.manager.registered == [("/dmi/pairing", capability)]
    assert await device.ask("Release", "", []) == "org.freedesktop.DBus.Error.ServiceUnknown"


async def test_a_device_that_is_paired_gets_no_agent(device):
    device.is_paired = True
    assert await pair(heater(), PairingWay()) is False
    assert device.manager.registered == []


async def test_the_passkey_is_given_for_this_device_alone(device):
    device.questions = [
        ("RequestPasskey", "o", PATH),
        ("RequestPinCode", "o", PATH),
        ("RequestPasskey", "o", OTHER),
        ("RequestConfirmation", "ou", PATH, 123456),
        ("DisplayPasskey", "ouq", PATH, 123456, 0),
        ("AuthorizeService", "os", PATH, "1812"),
        ("RequestAuthorization", "o", PATH),
        ("RequestAuthorization", "o", OTHER),
        ("Cancel", ""),
        ("Release", ""),
    ]
    await pair(heater(), PairingWay(passkey=12345))
    no = "org.bluez.Error.Rejected"
    assert device.answers == [[12345], ["012345"], no, no, no, no, [], no, [], []]


async def test_numbers_are_confirmed_where_that_is_wanted_and_told(device, caplog):
    device.questions = [
        ("RequestConfirmation", "ou", PATH, 4711),
        ("RequestConfirmation", "ou", OTHER, 4712),
        ("DisplayPasskey", "ouq", PATH, 4713, 0),
        ("DisplayPasskey", "ouq", PATH, 4714, 1),
        ("RequestPasskey", "o", PATH),
    ]
    await pair(heater(), PairingWay(confirm=True))
    no = "org.bluez.Error.Rejected"
    assert device.answers == [[], no, [], [], no]
    assert "004711" in caplog.text
    assert "type 004713 there" in caplog.text
    assert "004714" not in caplog.text


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("org.bluez.Error.AuthenticationFailed", PairingRefusedError),
        ("org.bluez.Error.AuthenticationTimeout", PairingRefusedError),
        ("org.bluez.Error.ConnectionAttemptFailed", RefusedByBluezError),
        ("org.bluez.Error.NotAuthorized", AccessDeniedError),
    ],
)
async def test_refusals(device, name, error):
    device.refusal = name
    with pytest.raises(error, match="that is why"):
        await pair(heater(), PairingWay())


async def test_one_that_was_paired_meanwhile_is_paired(device):
    device.refusal = "org.bluez.Error.AlreadyExists"
    assert await pair(heater(), PairingWay()) is False


class Adapter(ServiceInterface):
    """An adapter that is on or off."""

    def __init__(self):
        super().__init__("org.bluez.Adapter1")
        self.is_on = True

    @dbus_property(access=PropertyAccess.READ)
    def Powered(self) -> DBusBool:
        return self.is_on


async def test_an_adapter_is_looked_at(device):
    adapter = Adapter()
    device.bus.export("/org/bluez/hci0", adapter)
    async with open_radio("hci0") as radio:
        await radio.check()
        adapter.is_on = False
        with pytest.raises(AdapterOffError, match="bluetoothctl power on"):
            await radio.check()
        device.bus.unexport("/org/bluez/hci0")
        with pytest.raises(AdapterMissingError, match="systemctl start bluetooth"):
            await radio.check()


async def test_without_bluez_it_is_unavailable(system_bus):
    with pytest.raises(AdapterMissingError, match="systemctl start bluetooth"):
        await check("hci0")
    with pytest.raises(UnavailableError, match="ServiceUnknown"):
        await pair(heater(), PairingWay())
    with pytest.raises(UnavailableError, match="ServiceUnknown"):
        await power_cycle("hci0")
