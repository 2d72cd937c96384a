"""The driver contract, over the radio in this process."""

import pytest

from mapper_sdk.testing import DriverContract
from mappers.ble.driver import BleDriver
from mappers.ble.simulation.peripherals import HEATER as UUIDS
from tests.mappers.ble.conftest import HEATER, link_to, visit_of


class TestBleDriver(DriverContract):
    value = 42.0
    other_value = 43.5

    @pytest.fixture
    def driver(self, simulator):
        return BleDriver(link_to(simulator, address=HEATER))

    @pytest.fixture
    def visit(self):
        return visit_of(characteristic=UUIDS["setpoint"], type="float32")

    @pytest.fixture
    def visits(self, visit):
        return [
            visit,
            visit_of("bytes", characteristic=UUIDS["log"]),
            visit_of("string", characteristic=UUIDS["name"]),
            visit_of("int", characteristic=UUIDS["log"], type="uint16", offset=4),
        ]

    @pytest.fixture
    def bad_visit(self):
        return visit_of(characteristic="2a6e")
