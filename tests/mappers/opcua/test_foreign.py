"""Against an OPC UA server that is not asyncua: node-opcua, from npm."""

import asyncio
import importlib.util
import json
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import pytest_asyncio
from asyncua import ua

from dmi.errors import AccessDeniedError, ConfigError, DmiError, UnavailableError
from dmi.readings import Reading
from mapper_sdk.sessions.bus import Bus
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.pki.own import own_certificate
from mappers.opcua.session.endpoints import choose_endpoint
from mappers.opcua.session.ladder import Rung
from mappers.opcua.session.space import browse, resolve
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
        [at({"nodeID": PLANT + "Clock", "samplingInterval": 0, "queueSize": 1000})], ears.publish
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


async def test_a_session_that_the_server_grants_for_less_time(join):
    driver = await join(sessionTimeout=3600)
    assert driver._peer.channel.session_seconds == 3000


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


async def test_its_structures(join):
    driver = await join()
    recipe = at({"nodeID": PLANT + "Recipe"})

    async def read():
        (answer,) = await driver.read([recipe])
        return json.loads(answer.value)

    told = {
        "Name": "overnight",
        "Mode": 1,
        "Band": {"Low": 55.0, "High": 65.0},
        "Steps": [{"Low": 20.0, "High": 40.0}],
        "Start": {"Label": "soon"},
        "Note": None,
    }
    assert await read() == told
    written = {"Mode": 2, "Band": {"High": 70}, "Steps": [{"Low": 1}, {"Low": 2, "High": 3}]}
    await driver.write(recipe, json.dumps(written | {"Start": {"Hours": 7}, "Note": "mild"}))
    assert await read() == told | {
        "Mode": 2,
        "Band": {"Low": 55.0, "High": 70.0},
        "Steps": [{"Low": 1.0, "High": 40.0}, {"Low": 2.0, "High": 3.0}],
        "Start": {"Hours": 7},
        "Note": "mild",
    }
    await driver.write(recipe, json.dumps(told))
    ears = Ears()
    assert await driver.subscribe([recipe], ears.publish) == [None]
    await ears.until(lambda heard: heard)
    assert json.loads(ears.heard[0][0].value) == told


class Told(Ears):
    def __call__(self, event):
        self.publish("events", event)

    async def next(self, **wanted):
        def fits(event):
            return all(event.fields.get(key) == value for key, value in wanted.items())

        await self.until(lambda heard: any(map(fits, heard.get("events", ()))))
        while True:
            event = self.heard["events"].pop(0)
            if fits(event):
                return event


async def test_its_events(join):
    finder = await join()
    wanted = [at({"browsePath": path}).address for path in ("2:Plant", "/Types/EventTypes")]
    found = await resolve(finder._peer.channel, wanted)
    plant, types = (found[one].to_string() for one in wanted)
    (kind,) = await kinds_of(finder, types)
    driver, told = await join(eventSource=plant, eventType=kind, objectID=PLANT + "Boiler"), Told()
    assert {"Ring", "Heat"} <= {method.name for method in await driver.methods()}
    await driver.listen(told)
    await driver.call("Ring", {"heat": 71.5})
    event = await told.next()
    assert (event.kind, event.source, event.severity) == ("BurnerEventType", "Boiler", 300)
    assert (event.message, event.fields["Heat"]) == ("burner on", 71.5)


async def kinds_of(driver, types):
    """The server's own types of events."""
    below = await browse(
        driver._peer.channel, ua.NodeId.from_string(types), ua.NodeClass.ObjectType
    )
    (base,) = [one.NodeId for one in below]
    own = await browse(driver._peer.channel, base, ua.NodeClass.ObjectType)
    return [one.NodeId.to_string() for one in own if one.NodeId.NamespaceIndex == 2]


async def test_its_alarms(server, join):
    finder = await join()
    address = at({"browsePath": "2:Plant"}).address
    plant = (await resolve(finder._peer.channel, [address]))[address].to_string()
    driver, told = await join(eventSource=plant, objectID=PLANT + "Boiler"), Told()
    offered = {method.name for method in await driver.methods()}
    assert {"acknowledge", "confirm", "Heat"} <= offered
    await driver.listen(told)
    await driver.call("Heat", {"hot": True})
    began = await told.next(**{"ActiveState.Id": True, "Retain": True})
    assert began.kind == "OffNormalAlarmType"
    assert began.severity > 0
    late, later = await join(eventSource=plant), Told()
    await late.listen(later)
    stands = await later.next(**{"ActiveState.Id": True})
    assert stands.fields["ConditionId"] == began.fields["ConditionId"]
    await late.call(
        "acknowledge", {"condition": stands.fields["ConditionId"], "comment": "on my way"}
    )
    seen = await told.next(**{"AckedState.Id": True})
    assert seen.fields["Comment"] == "on my way"
    await driver.call("Heat", {"hot": False})
    await told.next(**{"ActiveState.Id": False})
    await driver.call("confirm", {"condition": began.fields["ConditionId"]})
    await told.next(**{"ConfirmedState.Id": True})


async def test_its_history(join):
    driver = await join()
    clock = at({"nodeID": PLANT + "Clock"})
    past = []
    async with asyncio.timeout(10):
        while len(past) < 5:
            past = await driver.history(clock, time.time() - 60, time.time() + 1, 100)
    values = [reading.value for reading in past]
    assert values == sorted(values)
    assert [reading.time for reading in past] == sorted(reading.time for reading in past)
    assert len(await driver.history(clock, past[0].time, time.time() + 1, 3)) == 3
    with pytest.raises(DmiError, match="Bad"):
        await driver.history(at({"nodeID": PLANT + "Speed"}), time.time() - 60, time.time(), 5)


async def test_a_deadband_in_percent_of_the_range(join):
    driver, ears = await join(), Ears()
    pressure = at({"nodeID": PLANT + "Pressure", "serverDeadband": 10, "deadbandType": "percent"})
    plain = at({"nodeID": PLANT + "Pressure", "samplingInterval": 0, "queueSize": 20})
    assert await driver.subscribe([pressure, plain], ears.publish) == [None, None]
    await ears.until(lambda heard: len(heard) == 2)
    # A tenth of 0 to 200 is 20: who must hear of it, so that none is overwritten unseen.
    for value, who in ((119.0, 1), (121.0, 0), (140.0, 1), (145.0, 0)):
        await driver.write(plain, value)
        await ears.until(lambda heard, v=value, who=who: heard[who][-1].value == v)
    assert [answer.value for answer in ears.heard[0]] == [100.0, 121.0, 145.0]
    await driver.write(plain, 100.0)


async def test_a_deadband_in_percent_of_no_range_is_refused_and_polled(join):
    driver = await join()
    visit = {"nodeID": PLANT + "Level", "serverDeadband": 10, "deadbandType": "percent"}
    (refusal,) = await driver.subscribe([at(visit)], Ears().publish)
    assert isinstance(refusal, DmiError)
    assert "Filter" in str(refusal) or "Deadband" in str(refusal)


async def test_how_often_the_server_looks(join):
    driver, ears = await join(publishingInterval=200), Ears()
    clock = {"nodeID": PLANT + "Clock", "queueSize": 100}
    fast, slow = at(clock | {"samplingInterval": 0}), at(clock | {"samplingInterval": 500})
    short = at(clock | {"samplingInterval": 0, "queueSize": 2})
    assert await driver.subscribe([fast, slow, short], ears.publish) == [None] * 3
    await ears.until(lambda heard: len(heard.get(0, ())) >= 20)
    values = [answer.value for answer in ears.heard[0]]
    assert values == [values[0] + n for n in range(len(values))]
    seconds = ears.heard[0][-1].time - ears.heard[0][0].time
    assert 0 < len(ears.heard[1]) <= seconds / 0.5 + 2
    await ears.until(lambda heard: OpcuaDriver.tally[Rung.OVERFLOWS.value] > 0)
    kept = [answer.value for answer in ears.heard[2]]
    assert kept == sorted(kept)
    assert len(kept) < kept[-1] - kept[0] + 1


@pytest.mark.parametrize(
    ("policy", "mode"), [(p, m) for p in POLICIES for m in ("Sign", "SignAndEncrypt")]
)
async def test_a_cut_is_mended_in_every_security_mode(server, join, policy, mode):
    async with peer.Meddler(server.port) as meddler:
        driver = await join(
            url=meddler.url, securityPolicy=policy, securityMode=mode, trustAnyServer=True
        )
        ears = await ticking(driver)
        meddler.cut()
        before = len(ears.heard[0])
        await ears.until(lambda heard: len(heard[0]) >= before + 10)
        values = [answer.value for answer in ears.heard[0]]
        assert values == [values[0] + n for n in range(len(values))]
        assert OpcuaDriver.tally[Rung.RESUME.value] == 1
        await driver.close()


async def test_a_server_that_names_a_host_which_nobody_knows(join):
    with pytest.raises(UnavailableError, match=r"behind-nat|connecting"):
        await join(followEndpoint=True)


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


async def test_a_session_that_is_over_hands_its_subscription_to_the_next(server, join):
    async with peer.Meddler(server.port) as meddler:
        # Who nobody knows could take over anybody's: servers hand on only to signed clients.
        secure = {"securityPolicy": "Basic256Sha256", "trustAnyServer": True}
        driver = await join(url=meddler.url, sessionTimeout=0.5, recoveryTime=20, **secure)
        ears = await ticking(driver)
        meddler.closed = True
        meddler.cut()
        await asyncio.sleep(1.5)  # the server waits for so long and no longer
        meddler.closed = False
        before = len(ears.heard[0])
        await ears.until(lambda heard: len(heard[0]) >= before + 40)
        values = [answer.value for answer in ears.heard[0]]
        assert values == [values[0] + n for n in range(len(values))]
        counted = OpcuaDriver.tally
        assert (counted[Rung.NEW_SESSION.value], counted[Rung.TRANSFER.value]) == (1, 1)
        assert (counted[Rung.RECREATE.value], counted[Rung.LOST_MESSAGES.value]) == (0, 0)
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


async def test_data_flows_again_after_a_restart_in_every_security_mode(server, join):
    modes = [("None", "None"), *((p, m) for p in POLICIES for m in ("Sign", "SignAndEncrypt"))]
    settings = {"trustAnyServer": True, "recoveryTime": 30}
    heard = [
        await ticking(await join(securityPolicy=policy, securityMode=mode, **settings))
        for policy, mode in modes
    ]
    server.kill()
    await asyncio.to_thread(server.start)
    began = time.monotonic()
    before = [len(ears.heard[0]) for ears in heard]
    for count, ears in zip(before, heard, strict=True):
        await ears.until(lambda heard, count=count: len(heard[0]) > count + 3)
    assert peer.seconds_since(began) < 10
    assert OpcuaDriver.tally[Rung.NEW_SESSION.value] == len(modes)
    assert OpcuaDriver.tally[Rung.RECREATE.value] == len(modes)


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


async def test_a_server_that_must_accept_us_first(join, tmp_path):
    """The error says which file its owner needs; with that accepted there it heals."""
    pki = tmp_path / "server"
    strict = peer.ForeignServer(peer.installed(), pki, "--strict")
    await asyncio.to_thread(strict.start)
    settings = {"url": strict.url, "trustAnyServer": True}
    try:
        for policy in POLICIES[:2]:
            with pytest.raises(AccessDeniedError, match="its owner must, it is ") as refused:
                await join(securityPolicy=policy, **settings)
        own = Path(str(refused.value).rpartition(" ")[2])
        shutil.copy(own, pki / "trusted" / "certs" / "mapper.der")
        for refusal in (pki / "rejected").iterdir():
            refusal.unlink()
        async with asyncio.timeout(15):
            while True:
                try:
                    driver = await join(securityPolicy=POLICIES[0], **settings)
                except AccessDeniedError:  # it looks into its folder now and then
                    await asyncio.sleep(0.2)
                else:
                    break
        assert isinstance((await driver.read([at({"nodeID": "i=2258"})]))[0], Reading)
        await driver.close()
    finally:
        strict.kill()


@pytest.mark.parametrize("moment", ["before", "amid"])
async def test_a_server_that_hangs_while_it_is_subscribed_to(server, join, caplog, moment):
    driver = await join(timeout=0.5, recoveryTime=1)
    visits, ears = [at({"nodeID": f"{PLANT}Item{n}"}) for n in range(60)], Ears()
    create = driver._peer.channel.session.create_monitored_items
    began = time.monotonic()

    async def stop_amid(parameters):
        results = await create(parameters)
        server.signal(signal.SIGSTOP)
        return results

    if moment == "before":
        server.signal(signal.SIGSTOP)
    else:
        driver._peer.channel.session.create_monitored_items = stop_amid
    try:
        with pytest.raises(UnavailableError):
            await driver.subscribe(visits, ears.publish)
        assert time.monotonic() - began < 5
        with pytest.raises(UnavailableError):
            await driver.read(visits[:1])
    finally:
        server.signal(signal.SIGCONT)
    await driver.connect()
    assert await driver.subscribe(visits, ears.publish) == [None] * 60
    await ears.until(lambda heard: len(heard) == 60)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
