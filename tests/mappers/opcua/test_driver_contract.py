import pytest

from mapper_sdk.sessions.bus import Bus
from mapper_sdk.testing import DriverContract
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.visit import OpcuaVisit

at = OpcuaVisit.model_validate
# asyncua takes its time to build an address space, most of all on a busy machine.
pytestmark = pytest.mark.timeout(60)
PLANT = "nsu=urn:dmi-toolkit:plant;s="


class TestOpcuaDriver(DriverContract):
    value = 1200
    other_value = 1300

    @pytest.fixture
    def driver(self, simulator):
        settings = {"url": simulator.url, "timeout": 1, "recoveryTime": 1}
        driver = OpcuaDriver(OpcuaLink.model_validate(settings))
        driver.bus = Bus()
        return driver

    @pytest.fixture
    def visit(self):
        return at({"nodeID": PLANT + "Pump.Speed"})

    @pytest.fixture
    def visits(self):
        return [
            at({"nodeID": PLANT + "Meter.Serial"}),
            at({"nodeID": PLANT + "Meter.Phases"}),
            at({"browsePath": "Plant/Boiler/Burner", "namespaceUri": "urn:dmi-toolkit:plant"}),
            at({"nodeID": "ns=2;s=Boiler.Setpoint"}),
            at({"nodeID": "i=2261"}),
        ]

    @pytest.fixture
    def bad_visit(self):
        return at({"nodeID": PLANT + "Nowhere"})
