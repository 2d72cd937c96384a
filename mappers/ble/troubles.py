"""What bleak raises, as errors of this project, with the cure where a person can help."""

from collections.abc import Iterator
from contextlib import contextmanager

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
)

from dmi.errors import (
    AccessDeniedError,
    DeadlineError,
    DmiError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from mappers.ble.radio import PairingRefusedError

__all__ = ["START", "SWITCH_ON", "AdapterMissingError", "AdapterOffError", "error_of", "translated"]


class AdapterOffError(UnavailableError):
    """The radio is there and switched off."""

    reason = "adapter_off"


class AdapterMissingError(UnavailableError):
    """There is no such radio, or nothing that runs it."""

    reason = "adapter_missing"


_REASONS = BleakBluetoothNotAvailableReason
_DENIED = {_REASONS.DENIED_BY_USER, _REASONS.DENIED_BY_SYSTEM, _REASONS.DENIED_BY_UNKNOWN}
_NEEDS_PAIRING = {0x05, 0x08, 0x0C, 0x0F}
_NOT_PERMITTED = {0x02, 0x03}
"""Codes of ATT. Source: Bluetooth Core Specification, Vol 3, Part F, section 3.4.1.1."""
_DBUS_DENIED = {
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.bluez.Error.NotAuthorized",
    "org.bluez.Error.NotPermitted",
}
_DBUS_MISSING = {
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.UnknownObject",
    # There is a file that says how to start bluetoothd, and it does not start.
    "org.freedesktop.DBus.Error.Spawn.ChildExited",
    "org.freedesktop.DBus.Error.Spawn.ExecFailed",
}
SWITCH_ON = "switch it on by `bluetoothctl power on`, and look at `rfkill list` if it stays off"
"""The cure for an adapter that is off."""
START = "is bluetoothd running (`systemctl start bluetooth`), and the adapter plugged in?"
"""The cure for an adapter that is missing."""
_RIGHTS = "let this user speak to BlueZ: add it to the group `bluetooth`, or ask the D-Bus policy"


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Let errors of bleak leave as ours.

    Args:
        what: What was being done, for the message.
    """
    try:
        yield
    except BleakError as error:
        raise error_of(error, what) from error
    except TimeoutError as error:
        raise DeadlineError(f"{what}: no answer in time") from error
    except (OSError, EOFError) as error:
        # The D-Bus socket is not there, or has died.
        raise AdapterMissingError(f"{what}: {error}; {START}") from error


def error_of(error: BleakError, what: str) -> DmiError:
    """Say an error of bleak in our words.

    Args:
        error: What was raised.
        what: What was being done, for the message.
    """
    if (refused := _refused_pairing(error)) is not None:
        return AccessDeniedError(
            f"{what}: the device refuses to be paired: {refused}; is `passkey` right, does it need "
            "`confirmNumbers`, or must it be put into its pairing mode?"
        )
    if isinstance(error, BleakBluetoothNotAvailableError):
        return _not_available(error, what)
    if isinstance(error, BleakGATTProtocolError):
        return _protocol_error(error, what)
    if isinstance(error, BleakCharacteristicNotFoundError):
        return NotFoundError(f"{what}: the device has no such characteristic")
    if isinstance(error, BleakDBusError):
        return _dbus_error(error, what)
    if isinstance(error, BleakDeviceNotFoundError):
        return UnavailableError(f"{what}: the device is not heard")
    return UnavailableError(f"{what}: {str(error) or type(error).__name__}")


def _refused_pairing(error: BaseException | None) -> PairingRefusedError | None:
    """What bleak-retry-connector has wrapped into an error of its own."""
    while error is not None and not isinstance(error, PairingRefusedError):
        error = error.__cause__
    return error


def _not_available(error: BleakBluetoothNotAvailableError, what: str) -> DmiError:
    if error.reason is _REASONS.POWERED_OFF:
        return AdapterOffError(f"{what}: the adapter is switched off; {SWITCH_ON}")
    if error.reason in _DENIED:
        return AccessDeniedError(f"{what}: {error.args[0]}; {_RIGHTS}")
    return AdapterMissingError(f"{what}: {error.args[0]}; {START}")


def _protocol_error(error: BleakGATTProtocolError, what: str) -> DmiError:
    code = int(error.code)
    if code in _NEEDS_PAIRING:
        return AccessDeniedError(f"{what}: the device wants to be paired first; set `pair`")
    if code in _NOT_PERMITTED:
        return AccessDeniedError(f"{what}: the device does not permit that")
    return RefusedError(f"{what}: the device says {error}")


def _dbus_error(error: BleakDBusError, what: str) -> DmiError:
    text = f"{what}: {error}"
    if error.dbus_error in _DBUS_DENIED:
        return AccessDeniedError(f"{text}; {_RIGHTS}")
    if error.dbus_error in _DBUS_MISSING:
        return AdapterMissingError(f"{text}; {START}")
    if error.dbus_error == "org.bluez.Error.NotReady":
        return AdapterOffError(f"{text}; {SWITCH_ON}")
    if error.dbus_error == "org.bluez.Error.InProgress":
        return OverloadedError(text)
    if error.dbus_error == "org.bluez.Error.NotSupported":
        return UnsupportedError(text)
    if "ATT error: 0x" in (error.dbus_error_details or ""):
        return RefusedError(text)
    return UnavailableError(text)
