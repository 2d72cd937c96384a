"""Bonds outlive the radio that made them, as they outlive a mapper."""

import json
import stat

import pytest
from bleak import BleakClient
from bleak.backends.device import BLEDevice

from dmi.errors import ConfigError
from mappers.ble.radio import PairingWay, open_radio
from mappers.ble.radio.bonds import Bonds
from mappers.ble.simulation.peripherals import HEATER as UUIDS

from .conftest import HEATER


async def code(radio):
    """Pair, if need be, and read what only a paired link may."""
    async with BleakClient(HEATER, pair=True, backend=radio.client, **radio.kwargs) as client:
        return await client.read_gatt_char(UUIDS["code"])


async def test_a_bonded_link_is_encrypted_again_after_a_restart_without_pairing(
    simulator, tmp_path
):
    folder = tmp_path / "state" / "ble"
    for _ in range(3):
        async with open_radio(simulator.radio, folder) as radio:
            assert await code(radio) == b"4711"
    assert simulator.heater.pairings == 1
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_without_a_folder_bonds_end_with_the_radio(simulator):
    for _ in range(2):
        async with open_radio(simulator.radio) as radio:
            assert await code(radio) == b"4711"
            assert await code(radio) == b"4711"
    assert simulator.heater.pairings == 2


async def test_a_device_that_has_lost_its_bond_is_paired_again(simulator, tmp_path, caplog):
    async with open_radio(simulator.radio, tmp_path) as radio:
        await code(radio)
        await simulator.restart(simulator.heater)
        assert await code(radio) == b"4711"
        assert await code(radio) == b"4711"
    assert simulator.heater.pairings == 2
    assert caplog.text.count("does not know its bond any more") == 1


async def test_a_device_that_is_forgotten_is_paired_again(simulator, tmp_path):
    async with open_radio(simulator.radio, tmp_path) as radio:
        async with BleakClient(HEATER, pair=True, backend=radio.client, **radio.kwargs) as client:
            await client.unpair()
        await code(radio)
    assert simulator.heater.pairings == 2


async def test_a_folder_that_cannot_be_written_costs_only_the_next_start(
    simulator, tmp_path, caplog
):
    async with open_radio(simulator.radio, tmp_path / "taken" / "ble") as radio:
        (tmp_path / "taken").write_text("")
        assert await code(radio) == b"4711"
        assert await code(radio) == b"4711"
    assert "set `bondDir`" in caplog.text
    assert simulator.heater.pairings == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"address": "F0:00", "bonds": {}}', '{"address": 7, "bonds": 7}'],
)
async def test_a_file_that_holds_no_bonds_is_told_to_who_pairs_and_left_alone(
    simulator, tmp_path, text
):
    async with open_radio(simulator.radio, tmp_path) as radio:
        await code(radio)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    async with open_radio(simulator.radio, tmp_path) as radio:
        with pytest.raises(ConfigError, match=f"{file.name} holds no bonds"):
            await radio.prepare_pairing(BLEDevice(HEATER, "heater", None), PairingWay())
        await code(radio)
    assert file.read_text() == text


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "usb-0.json").mkdir()
    assert "cannot be read" in Bonds(tmp_path, "usb:0").problem.message


async def test_the_address_is_kept_with_the_bonds(tmp_path):
    bonds = Bonds(tmp_path, "serial:/dev/ttyACM0,115200")
    await bonds.delete("nobody")
    again = Bonds(tmp_path, "serial:/dev/ttyACM0,115200")
    assert again.address == bonds.address
    (file,) = tmp_path.iterdir()
    assert file.name == "serial-dev-ttyACM0-115200.json"
    assert set(json.loads(file.read_text())) == {"address", "bonds"}
