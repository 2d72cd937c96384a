"""Opens the radios that bumble drives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bumble.core import BaseBumbleError
from bumble.transport import open_transport
from bumble.transport.common import Transport, TransportSink, TransportSource

from dmi.errors import AccessDeniedError, ConfigError, UnavailableError
from mappers.ble.radio import VIRTUAL, RadioBackend
from mappers.ble.radio.air import AirController, air_named
from mappers.ble.radio.bonds import Bonds
from mappers.ble.radio.client import BumbleClient
from mappers.ble.radio.host import RadioHost
from mappers.ble.radio.scanner import BumbleScanner

__all__ = ["open_host"]

_OPEN_SECONDS = 10.0


@asynccontextmanager
async def open_host(radio: str, folder: Path | None) -> AsyncIterator[RadioBackend]:
    """Open a controller and put a host on it; see `mappers.ble.radio.open_radio`."""
    bonds = await asyncio.to_thread(Bonds, folder, radio)
    async with AsyncExitStack() as stack:
        source, sink = await _controller(radio, stack)
        host = RadioHost(source, sink, bonds)
        stack.push_async_callback(host.stop)
        await host.start()
        yield RadioBackend(
            name=radio,
            scanner=BumbleScanner,
            client=BumbleClient,
            kwargs={"radio": host},
            power_cycle=host.power_cycle,
            check=host.check,
            prepare_pairing=host.prepare_pairing,
            lost=host.lost,
        )


async def _controller(radio: str, stack: AsyncExitStack) -> tuple[TransportSource, TransportSink]:
    scheme, _, rest = radio.partition(":")
    if scheme == VIRTUAL:
        air = air_named(rest)
        if air is None:
            raise UnavailableError(f"there is no virtual radio {rest!r} in this process")
        controller = AirController("central", air)
        stack.callback(controller.leave)
        return controller, controller
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            transport = await (_open_usb(radio) if scheme == "usb" else open_transport(radio))
    except TimeoutError:
        raise UnavailableError(f"{radio} does not open in {_OPEN_SECONDS:.0f} s") from None
    except PermissionError as error:
        raise AccessDeniedError(f"{radio}: {error}") from error
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{radio}: {error}") from error
    except (OSError, BaseBumbleError) as error:
        raise UnavailableError(f"{radio}: {error}") from error
    stack.push_async_callback(transport.close)
    return transport.source, transport.sink


async def _open_usb(radio: str) -> Transport:
    """Open a dongle; libusb has errors of its own.

    Raises:
        PermissionError: We may not use it.
        OSError: It is not there, or there is no USB.
    """
    import usb1  # type: ignore[import-untyped]  # theirs; it loads libusb

    try:
        return await open_transport(radio)
    except usb1.USBErrorAccess as error:
        raise PermissionError(
            f"{error}: let this user use the dongle, by a udev rule for example"
        ) from error
    except usb1.USBError as error:
        raise OSError(str(error)) from error
