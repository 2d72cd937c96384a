import asyncio
import gc

import pytest

from dmi.errors import ConfigError, UnavailableError
from mappers.ble.radio import is_bluez, open_radio
from mappers.ble.radio.air import air_named
from mappers.ble.simulator import BleSimulator


@pytest.mark.parametrize(
    "radio", ["", "hci", "bluetooth0", "virtual:", "usb:", "tcp-server:x:1", "hci0:1"]
)
async def test_what_is_no_radio_is_a_mistake_in_a_setting(radio):
    with pytest.raises(ConfigError):
        async with open_radio(radio):
            pass


async def test_an_adapter_is_bleaks_own_backend():
    async with open_radio("hci3") as radio:
        assert radio.scanner is radio.client is None
        assert radio.kwargs == {"bluez": {"adapter": "hci3"}}
        assert not radio.lost.is_set()
    assert is_bluez("hci3")
    assert not is_bluez("tcp-client:h:1")


async def test_power_cycle_without_bluez_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nobody")
    async with open_radio("hci3") as radio:
        with pytest.raises(UnavailableError, match="D-Bus"):
            await radio.power_cycle()


async def test_a_virtual_radio_that_nobody_made():
    with pytest.raises(UnavailableError, match="nowhere"):
        async with open_radio("virtual:nowhere"):
            pass


async def test_an_air_ends_with_its_simulator():
    name = BleSimulator().radio.removeprefix("virtual:")
    gc.collect()
    assert air_named(name) is None


async def test_nobody_listens(unused_tcp_port):
    with pytest.raises(UnavailableError):
        async with open_radio(f"tcp-client:127.0.0.1:{unused_tcp_port}"):
            pass


@pytest.mark.parametrize(
    "radio",
    [
        "tcp-client:no-port",
        "unix-client:/nobody",
        "ws-client:ws://127.0.0.1:9",
        "serial:/dev/nobody",
        "usb:dead:beef",
        "usb:0",
        "usb:nonsense",
    ],
)
async def test_transports_that_do_not_open(radio):
    with pytest.raises((ConfigError, UnavailableError)):
        async with open_radio(radio):
            pass


async def test_a_listener_that_is_no_controller(monkeypatch):
    monkeypatch.setattr("mappers.ble.radio.host._START_SECONDS", 0.1)
    hung_up = asyncio.Event()

    async def silent(reader, writer):
        await reader.read()
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UnavailableError, match="does not answer HCI"):
            async with open_radio(f"tcp-client:127.0.0.1:{port}"):
                pass
        await hung_up.wait()


@pytest.fixture
def unused_tcp_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
