from types import SimpleNamespace

import httpx
import pytest

from device_manager.api.app import create_app
from device_manager.commands.methods import Methods
from device_manager.dmi_service.counters import Counters
from device_manager.dmi_service.leases import Leases
from device_manager.dmi_service.server import DmiServer
from device_manager.dmi_service.v1_devices import DeviceService
from device_manager.dmi_service.v1beta1_calls import MapperCalls
from device_manager.reconciling.reconciler import Reconciler
from device_manager.records import MapperRecord
from dmi.clock import SystemClock


def services(node):
    leases, counters, clock = Leases(node), Counters(), SystemClock()
    reconciler = Reconciler(node, MapperCalls(node, counters, clock))
    return DmiServer(leases, counters, DeviceService(node, leases), Methods(node), reconciler)


def client_of(app, **settings):
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1", **settings)


@pytest.fixture
async def world(node):
    """A node, its services without a socket, and a client of its API."""
    dmi = services(node)
    async with client_of(create_app(node, dmi)) as http:
        yield SimpleNamespace(node=node, dmi=dmi, http=http)


@pytest.fixture
def record():
    return MapperRecord("m", "modbus", "0", "1.0", "v1", abilities=["read"])
