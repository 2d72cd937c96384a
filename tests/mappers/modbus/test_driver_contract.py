import pytest

from mapper_sdk.sessions.bus import Bus
from mapper_sdk.testing import DriverContract
from mappers.modbus.config import ModbusLink
from mappers.modbus.driver import ModbusDriver
from mappers.modbus.visit import ModbusVisit

at = ModbusVisit.model_validate


class TestModbusDriver(DriverContract):
    @pytest.fixture
    def driver(self, simulator):
        settings = {"host": "127.0.0.1", "port": simulator.port, "unit": 4, "timeout": 0.5}
        driver = ModbusDriver(ModbusLink.model_validate(settings))
        driver.bus = Bus()
        return driver

    @pytest.fixture
    def visit(self):
        return at({"register": "holding", "offset": 10, "type": "int32"})

    @pytest.fixture
    def visits(self):
        return [
            at({"register": "discrete", "offset": 7}),
            at({"register": "holding", "offset": 99}),
            at({"register": "holding", "offset": 3, "count": 2}),
            at({"register": "coil", "offset": 0}),
            at({"register": "holding", "offset": 64, "bit": 6}),
        ]

    @pytest.fixture
    def bad_visit(self):
        return at({"register": "holding", "offset": 100})
