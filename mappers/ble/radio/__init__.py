"""The radio behind one setting: BlueZ with an adapter, or a controller of our own by bumble.

    async with open_radio("hci0") as radio:
        scanner = BleakScanner(heard, backend=radio.scanner, **radio.kwargs)
        client = BleakClient(device, backend=radio.client, **radio.kwargs)

Whoever uses a radio calls bleak and nothing else; which radio it is shows only here.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import BaseBleakScanner
from bleak.exc import BleakError

from dmi.errors import ConfigError

__all__ = [
    "PairingRefusedError",
    "PairingWay",
    "RadioBackend",
    "check_radio",
    "is_bluez",
    "open_radio",
]

_ADAPTER = re.compile(r"hci\d+")
_TRANSPORTS = frozenset({"tcp-client", "unix-client", "ws-client", "serial", "usb"})
VIRTUAL = "virtual"
"""Scheme of a radio that lives in this process; `mappers.ble.simulator` makes them."""


class PairingRefusedError(BleakError):
    """A device does not want to be paired, or not in this way."""


@dataclass(frozen=True, slots=True)
class PairingWay:
    """How a device is paired; the usual way is just so, which keeps listeners out but no impostors.

    Attributes:
        passkey: The six digits that it shows or has printed on it.
        confirm: Say yes when it asks whether both sides show the same number.
    """

    passkey: int | None = None
    confirm: bool = False


@dataclass(frozen=True)
class RadioBackend:
    """A radio that is open, in the words of bleak.

    Attributes:
        name: The setting that it was opened by.
        scanner: For the `backend=` of a BleakScanner; None is the platform's own.
        client: For the `backend=` of a BleakClient; None is the platform's own.
        kwargs: Further keywords that both of these classes need.
        power_cycle: Switches the radio off and on, which drops all its links. Raises
            UnavailableError if it does not come back, AccessDeniedError if we may not.
        check: Raises DmiError, with the cure, if the radio is off or has gone; asked when nothing
            is heard.
        prepare_pairing: Pairs a device that bleak is about to connect, where that needs more than
            bleak has; says whether bleak has still to pair it (`pair=True`). Raises DmiError if
            the device refuses.
        lost: Set once the radio is gone for good (its process or dongle went away); it must
            be opened again. Never set for BlueZ, which outlives its adapters.
    """

    name: str
    scanner: type[BaseBleakScanner] | None
    client: type[BaseBleakClient] | None
    kwargs: Mapping[str, Any]
    power_cycle: Callable[[], Awaitable[None]]
    check: Callable[[], Awaitable[None]]
    prepare_pairing: Callable[[BLEDevice, PairingWay], Awaitable[bool]]
    lost: asyncio.Event = field(default_factory=asyncio.Event)


def is_bluez(radio: str) -> bool:
    """Whether a radio is an adapter of BlueZ, such as `hci0`."""
    return _ADAPTER.fullmatch(radio) is not None


def check_radio(radio: str) -> str:
    """Let the setting of a radio pass; whether it is there shows only when it is opened.

    Raises:
        ValueError: It is none.
    """
    scheme, _, rest = radio.partition(":")
    if not is_bluez(radio) and (scheme not in _TRANSPORTS | {VIRTUAL} or not rest):
        raise ValueError(
            f"{radio!r} is no radio: write an adapter such as hci0, or one of "
            f"{', '.join(sorted(_TRANSPORTS))} or {VIRTUAL} with a colon and its address"
        )
    return radio


@asynccontextmanager
async def open_radio(radio: str, bonds: Path | None = None) -> AsyncIterator[RadioBackend]:
    """Open a radio for the length of a block.

    Args:
        radio: `hci0` and so on: an adapter of BlueZ. `tcp-client:HOST:PORT`,
            `serial:/dev/ttyACM0,115200`, `usb:0` and the like: a controller that bumble
            drives by HCI, past the operating system. `virtual:NAME`: the radio of a
            simulator in this process.
        bonds: Folder for the keys of paired devices; None forgets them. BlueZ has its own.

    Raises:
        ConfigError: The text is none of these, or bumble is not installed.
        UnavailableError: There is no such radio now.
        AccessDeniedError: It is there, but we may not use it.
    """
    if is_bluez(radio):
        # D-Bus is there only with BlueZ.
        from mappers.ble.radio.bluez import check, power_cycle
        from mappers.ble.radio.bluez_pairing import pair

        yield RadioBackend(
            name=radio,
            scanner=None,
            client=None,
            kwargs={"bluez": {"adapter": radio}},
            power_cycle=lambda: power_cycle(radio),
            check=lambda: check(radio),
            prepare_pairing=pair,
        )
        return
    try:
        check_radio(radio)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    try:
        from mappers.ble.radio.opening import open_host  # bumble is an extra
    except ImportError as error:
        raise ConfigError(
            f"the radio {radio!r} needs bumble: pip install 'dmi-toolkit[ble-hci]' ({error})"
        ) from error
    async with open_host(radio, bonds) as backend:
        yield backend
