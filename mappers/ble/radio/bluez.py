"""What bleak leaves to its users on BlueZ: switching an adapter off and on."""

import asyncio

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError

from dmi.errors import AccessDeniedError, UnavailableError

__all__ = ["power_cycle"]

_PATIENCE = 10.0
_DENIED = frozenset(
    {
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.bluez.Error.NotAuthorized",
        "org.bluez.Error.NotPermitted",
    }
)


async def power_cycle(adapter: str) -> None:
    """Switch an adapter off and on by BlueZ, which drops all its links.

    Args:
        adapter: Such as `hci0`.

    Raises:
        UnavailableError: There is no D-Bus, no bluetoothd or no such adapter, or it does
            not come back in 10 s.
        AccessDeniedError: D-Bus does not let us.
    """
    bus = MessageBus(bus_type=BusType.SYSTEM)
    try:
        async with asyncio.timeout(_PATIENCE):
            await bus.connect()
            await _set_powered(bus, adapter, powered=False)
            await _set_powered(bus, adapter, powered=True)
    except TimeoutError:
        raise UnavailableError(f"{adapter} does not come back in {_PATIENCE:.0f} s") from None
    except AuthError as error:
        raise AccessDeniedError(f"the system D-Bus refuses us: {error}") from error
    except (OSError, EOFError) as error:
        raise UnavailableError(f"there is no system D-Bus: {error}") from error
    finally:
        bus.disconnect()


async def _set_powered(bus: MessageBus, adapter: str, *, powered: bool) -> None:
    reply = await bus.call(
        Message(
            destination="org.bluez",
            path=f"/org/bluez/{adapter}",
            interface="org.freedesktop.DBus.Properties",
            member="Set",
            signature="ssv",
            body=["org.bluez.Adapter1", "Powered", Variant("b", powered)],
        )
    )
    if reply is None or reply.message_type is not MessageType.ERROR:
        return
    reason = f"{adapter}: {reply.error_name}: {' '.join(map(str, reply.body))}"
    if reply.error_name in _DENIED:
        raise AccessDeniedError(reason)
    raise UnavailableError(reason)
