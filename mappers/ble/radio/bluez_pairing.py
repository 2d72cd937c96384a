"""Pairing by BlueZ with an agent of our own, who answers for one device while it is paired.

Source: org.bluez.Agent(5), org.bluez.AgentManager(5) and org.bluez.Device(5).
"""

import logging
from typing import Annotated

from bleak.backends.device import BLEDevice
from dbus_fast.annotations import DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method

from mappers.ble.radio import PairingRefusedError, PairingWay
from mappers.ble.radio.bluez import RefusedByBluezError, ask_bluez, system_bus

__all__ = ["Agent", "pair"]

_log = logging.getLogger(__name__)

_PATH = "/dmi/pairing"
_DEVICE = "org.bluez.Device1"
_ALREADY = "org.bluez.Error.AlreadyExists"
_AUTHENTICATION = "org.bluez.Error.Authentication"

DBusUInt16 = Annotated[int, DBusSignature("q")]
DBusUInt32 = Annotated[int, DBusSignature("u")]


class Agent(ServiceInterface):
    """Answers what BlueZ asks of a person, for one device; refuses for all others.

    Attributes:
        capability: What BlueZ is to tell the device of us.
    """

    def __init__(self, device: str, way: PairingWay) -> None:
        """Answer for a device.

        Args:
            device: Its object path.
            way: How it is paired.
        """
        super().__init__("org.bluez.Agent1")
        self._device = device
        self._way = way
        self.capability = "NoInputNoOutput"
        if way.passkey is not None:
            self.capability = "KeyboardOnly"
        elif way.confirm:
            self.capability = "DisplayYesNo"

    def _check(self, device: str, *, able: bool = True) -> None:
        if device != self._device or not able:
            raise DBusError("org.bluez.Error.Rejected", "this agent does not answer that")

    def _passkey(self, device: str) -> int:
        self._check(device, able=self._way.passkey is not None)
        return self._way.passkey or 0

    @dbus_method("Release")
    def release(self) -> None:
        """BlueZ needs us no more."""

    @dbus_method("Cancel")
    def cancel(self) -> None:
        """A question is taken back; there is none that we think about."""

    @dbus_method("RequestPasskey")
    def request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        """The number that the device shows."""
        return self._passkey(device)

    @dbus_method("RequestPinCode")
    def request_pin_code(self, device: DBusObjectPath) -> DBusStr:
        """The same, as old devices want it."""
        return f"{self._passkey(device):06d}"

    @dbus_method("RequestConfirmation")
    def request_confirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:
        """Both sides show this number: whoever reads the log can compare them."""
        self._check(device, able=self._way.confirm)
        _log.warning("%s is paired: it should have shown %06d", device, passkey)

    @dbus_method("RequestAuthorization")
    def request_authorization(self, device: DBusObjectPath) -> None:
        """The device pairs just so; we have begun it ourselves."""
        self._check(device)

    @dbus_method("AuthorizeService")
    def authorize_service(self, device: DBusObjectPath, uuid: DBusStr) -> None:
        """The device wants to use a service of this host, which nobody has asked it to."""
        self._check(device, able=False)

    @dbus_method("DisplayPasskey")
    def display_passkey(
        self, device: DBusObjectPath, passkey: DBusUInt32, entered: DBusUInt16
    ) -> None:
        """A number that is to be typed in at the device."""
        self._check(device, able=self._way.confirm)
        if not entered:
            _log.warning("to pair %s, type %06d there", device, passkey)


async def pair(device: BLEDevice, way: PairingWay) -> bool:
    """Pair and bond a device that has been heard, and leave it connected, unless it is paired.

    Returns:
        False: bleak has nothing left to pair.

    Raises:
        PairingRefusedError: The device refuses, or wants it done in another way.
        UnavailableError: It cannot be reached, or there is no BlueZ.
        AccessDeniedError: BlueZ does not let us.
    """
    path: str = device.details["path"]
    async with system_bus() as bus:
        properties = "org.freedesktop.DBus.Properties"
        (paired,) = await ask_bluez(bus, path, properties, "Get", "ss", [_DEVICE, "Paired"])
        if paired.value:
            return False
        agent = Agent(path, way)
        bus.export(_PATH, agent)
        # For what this connection to D-Bus asks, BlueZ asks the agent of this connection: that
        # of the system is not touched. It is forgotten when the connection ends.
        manager = ("/org/bluez", "org.bluez.AgentManager1")
        await ask_bluez(bus, *manager, "RegisterAgent", "os", [_PATH, agent.capability])
        try:
            await ask_bluez(bus, path, _DEVICE, "Pair")
        except RefusedByBluezError as error:
            if error.name.startswith(_AUTHENTICATION):
                raise PairingRefusedError(error.message) from error
            if error.name != _ALREADY:
                raise
    return False
