"""What bleak leaves to its users on BlueZ: switching an adapter off and on, and asking by D-Bus."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError

from dmi.errors import AccessDeniedError, UnavailableError
from mappers.ble.troubles import START, SWITCH_ON, AdapterMissingError, AdapterOffError

__all__ = ["RefusedByBluezError", "ask_bluez", "check", "power_cycle", "system_bus"]

_PATIENCE = 10.0
_DENIED = frozenset(
    {
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.bluez.Error.NotAuthorized",
        "org.bluez.Error.NotPermitted",
    }
)


class RefusedByBluezError(UnavailableError):
    """BlueZ answered with an error.

    Attributes:
        name: Of the error, as `org.bluez.Error.Failed`.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


@asynccontextmanager
async def system_bus() -> AsyncIterator[MessageBus]:
    """Be connected to the system's D-Bus for the length of a block.

    Raises:
        UnavailableError: There is none.
        AccessDeniedError: It does not let us.
    """
    bus = MessageBus(bus_type=BusType.SYSTEM)
    try:
        await bus.connect()
        yield bus
    except AuthError as error:
        raise AccessDeniedError(f"the system D-Bus refuses us: {error}") from error
    except (OSError, EOFError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise UnavailableError(f"there is no system D-Bus: {error}") from error
    finally:
        bus.disconnect()


async def ask_bluez(
    bus: MessageBus,
    path: str,
    interface: str,
    member: str,
    signature: str = "",
    body: Sequence[str | Variant] = (),
) -> list[Any]:
    """Call a method of BlueZ, and give what it returns.

    Args:
        bus: Connected.
        path: Of the object.
        interface: That has the method.
        member: The method.
        signature: D-Bus types of the arguments.
        body: The arguments.

    Raises:
        AccessDeniedError: D-Bus or BlueZ does not let us.
        RefusedByBluezError: It answered with another error.
    """
    reply = await bus.call(
        Message(
            destination="org.bluez",
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
    )
    if reply is None or reply.message_type is not MessageType.ERROR:
        return [] if reply is None else list(reply.body)
    name = reply.error_name or ""
    reason = f"{path.rpartition('/')[2]}: {name}: {' '.join(map(str, reply.body))}"
    if name in _DENIED:
        raise AccessDeniedError(reason)
    raise RefusedByBluezError(reason, name)


async def check(adapter: str) -> None:
    """Look whether an adapter is there and switched on.

    Raises:
        AdapterOffError: It is switched off.
        AdapterMissingError: There is no D-Bus, no bluetoothd or no such adapter.
        AccessDeniedError: D-Bus does not let us.
    """
    try:
        async with asyncio.timeout(_PATIENCE), system_bus() as bus:
            (powered,) = await ask_bluez(
                bus,
                f"/org/bluez/{adapter}",
                "org.freedesktop.DBus.Properties",
                "Get",
                "ss",
                ["org.bluez.Adapter1", "Powered"],
            )
    except TimeoutError:
        raise AdapterMissingError(f"{adapter}: BlueZ does not answer; {START}") from None
    except UnavailableError as error:
        raise AdapterMissingError(f"{error.message}; {START}") from error
    if not powered.value:
        raise AdapterOffError(f"{adapter} is switched off; {SWITCH_ON}")


async def power_cycle(adapter: str) -> None:
    """Switch an adapter off and on by BlueZ, which drops all its links.

    Args:
        adapter: Such as `hci0`.

    Raises:
        UnavailableError: There is no D-Bus, no bluetoothd or no such adapter, or it does
            not come back in 10 s.
        AccessDeniedError: D-Bus does not let us.
    """
    try:
        async with asyncio.timeout(_PATIENCE), system_bus() as bus:
            for powered in (False, True):
                await ask_bluez(
                    bus,
                    f"/org/bluez/{adapter}",
                    "org.freedesktop.DBus.Properties",
                    "Set",
                    "ssv",
                    ["org.bluez.Adapter1", "Powered", Variant("b", powered)],
                )
    except TimeoutError:
        raise UnavailableError(f"{adapter} does not come back in {_PATIENCE:.0f} s") from None
