import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
)

from dmi.errors import DmiError
from mappers.ble.troubles import translated

REASONS = BleakBluetoothNotAvailableReason


def not_available(reason):
    return BleakBluetoothNotAvailableError("no", reason)


@pytest.mark.parametrize(
    ("raised", "reason", "retried", "cure"),
    [
        (not_available(REASONS.POWERED_OFF), "adapter_off", True, "bluetoothctl power on"),
        (not_available(REASONS.NO_BLUETOOTH), "adapter_missing", True, "systemctl start"),
        (not_available(REASONS.UNKNOWN), "adapter_missing", True, "plugged in"),
        (not_available(REASONS.DENIED_BY_SYSTEM), "access_denied", False, "group `bluetooth`"),
        (BleakGATTProtocolError(0x05), "access_denied", False, "`pair`"),
        (BleakGATTProtocolError(0x0F), "access_denied", False, "`pair`"),
        (BleakGATTProtocolError(0x03), "access_denied", False, "does not permit"),
        (BleakGATTProtocolError(0x80), "refused", False, "the device says"),
        (BleakCharacteristicNotFoundError("2a19"), "not_found", False, "no such"),
        (BleakDeviceNotFoundError("x"), "unavailable", True, "not heard"),
        (BleakError(""), "unavailable", True, "BleakError"),
        (BleakDBusError("org.bluez.Error.NotReady", []), "adapter_off", True, "power on"),
        (BleakDBusError("org.bluez.Error.InProgress", []), "overloaded", True, ""),
        (BleakDBusError("org.bluez.Error.NotSupported", []), "unsupported", False, ""),
        (BleakDBusError("org.bluez.Error.NotPermitted", []), "access_denied", False, "group"),
        (
            BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", []),
            "adapter_missing",
            True,
            "bluetoothd",
        ),
        (BleakDBusError("org.bluez.Error.Failed", ["ATT error: 0x0e"]), "refused", False, "0x0e"),
        (BleakDBusError("org.bluez.Error.Failed", ["Not connected"]), "unavailable", True, ""),
        (TimeoutError(), "deadline", True, "in time"),
        (FileNotFoundError("no socket"), "adapter_missing", True, "bluetoothd"),
        (EOFError(), "adapter_missing", True, "bluetoothd"),
    ],
)
def test_what_bleak_raises_says_what_to_do(raised, reason, retried, cure):
    with pytest.raises(DmiError) as told, translated("reading"):
        raise raised
    assert told.value.reason == reason
    assert told.value.retryable is retried
    assert told.value.message.startswith("reading: ")
    assert cure in told.value.message
    assert told.value.__cause__ is raised
