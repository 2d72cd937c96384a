"""Against an OPC UA server that is not asyncua: node-opcua, from npm."""

import asyncio
import importlib.util
import shutil
import sys
import time
from pathlib import Path

import pytest
import pytest_asyncio

from dmi.errors import AccessDeniedError, ConfigError
from dmi.readings import Reading
from mapper_sdk.bus import Bus
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.pki.own import own_certificate
from mappers.opcua.session.endpoints import choose_endpoint
from mappers.opcua.session.peer import Rung
from mappers.opcua.session.space import resolve
from mappers.opcua.visit import OpcuaVisit

_SPEC = importlib.util.spec_from_file_location(
    "foreign_peer", Path(__file__).parent / "foreign" / "peer.py"
)
peer = importlib.util.module_from_spec(_SPEC)
sys.modules["foreign_peer"] = peer
_SPEC.loader.exec_module(peer)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.process,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("node-opcua"),
]
at = OpcuaVisit.model_validate
PLANT = "nsu=urn:foreign:plant;s="
POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = peer.ForeignServer(peer.installed(), tmp_path_factory.mktemp("pki"))
    running.start()
    yield running
    running.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def join(server, tmp_path):
    drivers = []
    OpcuaDriver.tally.clear()

    async def make(**settings):
        data = {"url": server.url, "pkiDir": str(tmp_path / "pki"), "publishingInterval": 50}
        driver = OpcuaDriver(OpcuaLink.model_validate(data | settings))
        driver.bus = Bus()
        drivers.append(driver)
        await driver.connect()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


class Ears:
    def __init__(self):
        self.heard = {}
        self.bell = asyncio.Event()

    def publish(self, index, answer):
        self.heard.setdefault(index, []).append(answer)
        self.bell.set()

    async def until(self, held, seconds=15):
        async with asyncio.timeout(seconds):
            while not held(self.heard):
                self.bell.clear()
                await self.bell.wait()


async def ticking(driver):
    """Subscribe to a variable that counts; gives what hears it."""
    ears = Ears()
    assert await driver.subscribe(
        [at({"nodeID": PLANT + "Clock", "samplingInterval": 0, "queueSize": 50})], ears.publish
    ) == [None]
    await ears.until(lambda heard: len(heard.get(0, ())) >= 3)
    return ears


@pytest.mark.parametrize(
    ("policy", "mode"),
    [("None", "None"), *((p, m) for p in POLICIES for m in ("Sign", "SignAndEncrypt"))],
)
async def test_every_security_mode(join, policy, mode):
    driver = await join(securityPolicy=policy, securityMode=mode, trustAnyServer=True)
    speed = at({"nodeID": PLANT + "Speed"})
    await driver.write(speed, 1200)
    visits = [speed, at({"browsePath": "Plant/Phases", "namespaceUri": "urn:foreign:plant"})]
    assert [answer.value for answer in await driver.read(visits)] == [1200, "[1.0,2.0,3.0]"]


async def test_a_mode_without_a_policy_takes_the_strongest(join):
    driver = await join(securityMode="Sign", trustAnyServer=True)
    assert driver._peer.channel.client.security_policy.URI.endswith("Aes256_Sha256_RsaPss")


async def test_a_server_is_accepted_by_moving_its_certificate(join, tmp_path):
    pki = tmp_path / "pki"
    with pytest.raises(AccessDeniedError, match="to accept it: mv ") as refused:
        await join(securityPolicy="Basic256Sha256")
    _, source, target = str(refused.value).partition("mv ")[2].join(["mv ", ""]).split()
    shutil.move(source, target)
    driver = await join(securityPolicy="Basic256Sha256")
    assert isinstance((await driver.read([at({"nodeID": "i=2258"})]))[0], Reading)
    (trusted,) = (pki / "trusted").iterdir()
    key = next((pki / "own").glob("*.key.pem"))
    own = next((pki / "own").glob("*.der"))
    given = {"certificate": str(own), "privateKey": str(key), "pkiDir": "/nowhere"}
    await join(securityMode="Sign", remoteCertificate=str(trusted), **given)
    with pytest.raises(AccessDeniedError, match="is not the one"):
        await join(securityPolicy="Basic256Sha256", remoteCertificate=str(own))
    assert key.stat().st_mode & 0o077 == 0


async def test_a_user_with_a_password(join, tmp_path):
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("s3cret\n")
    wrong.write_text("guess\n")
    for policy in ("None", "Basic256Sha256"):
        settings = {"securityPolicy": policy, "trustAnyServer": True, "userName": "operator"}
        driver = await join(**settings, password=str(right))
        assert len(await driver.read([at({"nodeID": "i=2258"})])) == 1
        with pytest.raises(AccessDeniedError):
            await join(**settings, password=str(wrong))
    with pytest.raises(ConfigError, match="nowhere"):
        await join(userName="operator", passwordFile="/nowhere")


async def test_what_the_server_does_not_offer(join):
    driver = await join()
    link = OpcuaLink.model_validate({"url": "opc.tcp://x", "securityPolicy": "Aes128"})
    endpoints = await driver._peer.channel.client.get_endpoints()
    others = [one for one in endpoints if "Aes128" not in one.SecurityPolicyUri]
    assert choose_endpoint(endpoints, link).SecurityPolicyUri.endswith("Aes128_Sha256_RsaOaep")
    with pytest.raises(ConfigError, match="Aes256_Sha256_RsaPss/SignAndEncrypt"):
        choose_endpoint(others, link)


async def test_a_server_behind_nat_is_reached_where_it_was_named(join):
    driver = await join()
    endpoints = await driver._peer.channel.client.get_endpoints()
    assert {one.EndpointUrl.split("//")[1].split(":")[0] for one in endpoints} != {"127.0.0.1"}


async def test_its_operation_limits(join):
    driver = await join()
    assert driver._peer.channel.limits.read == driver._peer.channel.limits.items == 25
    visits = [at({"nodeID": f"{PLANT}Item{n}"}) for n in range(60)]
    assert [answer.value for answer in await driver.read(visits)] == [float(n) for n in range(60)]
    ears = Ears()
    assert await driver.subscribe(visits, ears.publish) == [None] * 60
    await ears.until(lambda heard: len(heard) == 60)


async def test_its_methods(join):
    finder = await join()
    address = at({"browsePath": "Plant", "namespaceUri": "urn:foreign:plant"}).address
    plant = (await resolve(finder._peer.channel, [address]))[address]
    driver = await join(objectID=plant.to_string())
    assert [method.name for method in await driver.methods()] == ["Add"]
    assert await driver.call("Add", {"a": 40, "b": 2}) == {"sum": 42}


async def test_discovery(server):
    found = [p async for p in OpcuaDriver.discover({"url": server.url, "root": "2:Plant"})]
    if not found:
        found = [p async for p in OpcuaDriver.discover({"url": server.url})]
    names = {prop["name"] for p in found for prop in p.model["spec"]["properties"]}
    assert {"speed", "level", "label", "phases"} <= names


async def test_a_cut_session_is_resumed_and_nothing_is_missed(server, join):
    async with peer.Meddler(server.port) as meddler:
        driver = await join(url=meddler.url)
        ears = await ticking(driver)
        before = len(ears.heard[0])
        meddler.cut()
        await ears.until(lambda heard: len(heard[0]) >= before + 20)
        values = [answer.value for answer in ears.heard[0]]
        assert values == [values[0] + n for n in range(len(values))]
        assert OpcuaDriver.tally[Rung.RESUME.value] == 1
        assert OpcuaDriver.tally[Rung.RECREATE.value] == 0
        await driver.close()


async def test_a_connection_that_swallows_everything(server, join):
    async with peer.Meddler(server.port) as meddler:
        driver = await join(url=meddler.url, timeout=0.5, keepAlive=0.3, recoveryTime=8)
        ears = await ticking(driver)
        meddler.deaf = True
        await asyncio.sleep(1.5)
        meddler.deaf = False
        before = len(ears.heard[0])
        await ears.until(lambda heard: len(heard[0]) > before + 5)
        await driver.close()


async def test_data_flows_again_after_a_restart(server, join):
    driver = await join(securityPolicy="Basic256Sha256", trustAnyServer=True, recoveryTime=30)
    ears = await ticking(driver)
    server.kill()
    await asyncio.to_thread(server.start)
    began = time.monotonic()
    before = len(ears.heard[0])
    await ears.until(lambda heard: len(heard[0]) > before + 3)
    assert peer.seconds_since(began) < 10
    assert OpcuaDriver.tally[Rung.NEW_SESSION.value] == 1
    assert OpcuaDriver.tally[Rung.RECREATE.value] == 1


async def test_a_user_with_a_certificate(join, tmp_path):
    link = OpcuaLink.model_validate({"url": "opc.tcp://x", "pkiDir": str(tmp_path / "user")})
    own_certificate(link)
    folder = tmp_path / "user" / "own"
    driver = await join(
        securityPolicy="Basic256Sha256",
        trustAnyServer=True,
        userCertificate=str(next(folder.glob("*.der"))),
        userPrivateKey=str(next(folder.glob("*.key.pem"))),
    )
    assert len(await driver.read([at({"nodeID": "i=2258"})])) == 1
