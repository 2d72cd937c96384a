import pytest
from pydantic import ValidationError

from mappers.opcua.addresses import Address
from mappers.opcua.config import OpcuaLink, SecurityMode, SecurityPolicy
from mappers.opcua.visit import DeadbandType, OpcuaVisit, Trigger

link = OpcuaLink.model_validate
at = OpcuaVisit.model_validate
URL = "opc.tcp://plc:4840"


def test_the_settings_of_kubeedges_samples():
    sample = {
        "url": "opc.tcp://127.0.0.1:4840",
        "userName": "testuser",
        "password": "/ca/pass",
        "securityPolicy": "Basic256Sha256",
        "securityMode": "Sign",
        "certificate": "/ca/client.pem",
        "privateKey": "/ca/key.pem",
        "remoteCertificate": "/ca/server.pem",
        "timeout": 8.0,
    }
    read = link(sample)
    assert str(read.password_file) == "/ca/pass"
    assert (read.policy, read.mode) == (SecurityPolicy.BASIC256SHA256, SecurityMode.SIGN)
    assert read.timeout == 8
    bare = link(
        {"url": URL, "userName": "", "password": "", "securityPolicy": "", "certificate": ""}
    )
    assert (bare.user_name, bare.policy, bare.certificate) == (None, SecurityPolicy.NONE, None)
    assert at({"nodeID": "ns=1,i=1005", "browseName": "light"}).address == Address(1, 1005)
    assert at({"browseName": "2:light"}).address.path[0].name == "light"


def test_security_is_completed():
    assert link({"url": URL}).mode is SecurityMode.NONE
    assert link({"url": URL, "securityPolicy": "aes256"}).mode is SecurityMode.ENCRYPT
    assert link({"url": URL, "securityMode": "sign"}).policy is None
    assert link({"URL": URL, "security_policy": "none"}).policy is SecurityPolicy.NONE


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "url"),
        ({"url": "http://plc"}, "opc.tcp"),
        ({"url": "opc.tcp://a:b@plc:1"}, "userName"),
        ({"url": URL, "securityPolicy": "None", "securityMode": "Sign"}, "both be None"),
        ({"url": URL, "certificate": "a.der"}, "privateKey"),
        ({"url": URL, "userCertificate": "a.der"}, "userPrivateKey"),
        ({"url": URL, "password": "x"}, "userName"),
        ({"url": URL, "tiemout": 1}, "tiemout"),
        (
            {"url": URL, "userName": "a", "userCertificate": "a", "userPrivateKey": "b"},
            "two ways",
        ),
    ],
)
def test_what_is_wrong_with_a_link(settings, told):
    with pytest.raises(ValidationError, match=told):
        link(settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "nodeID"),
        ({"nodeID": "Boiler"}, "no node id"),
        ({"nodeID": "i=1", "browsePath": "a"}, "two ways"),
        ({"nodeID": "i=1", "serverDeadband": 101, "deadbandType": "percent"}, "100"),
        ({"nodeID": "i=1", "queueSize": 0}, "queueSize"),
    ],
)
def test_what_is_wrong_with_a_visit(settings, told):
    with pytest.raises(ValidationError, match=told):
        at(settings)


def test_a_visit_in_any_spelling():
    visit = at(
        {
            "NodeId": "s=T",
            "namespaceuri": "urn:x",
            "queuesize": "3",
            "trigger": "STATUSVALUETIMESTAMP",
            "deadband-type": "Percent",
            "serverDeadband": 5,
        }
    )
    assert visit.address == Address("urn:x", "T")
    assert (visit.queue_size, visit.trigger) == (3, Trigger.STATUS_VALUE_TIME)
    assert visit.deadband_type is DeadbandType.PERCENT


def test_addresses_and_folders(monkeypatch, tmp_path):
    assert link({"url": "opc.tcp://plc/a"}).address == "opc.tcp://plc:4840/a"
    assert link({"url": "opc.tcp://[::1]:1"}).address == "opc.tcp://[::1]:1"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert link({"url": URL}).pki == tmp_path / "dmi" / "opcua"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert link({"url": URL}).pki.parts[-3:] == ("state", "dmi", "opcua")
    assert link({"url": URL, "pkiDir": "/p"}).pki.name == "p"


def test_devices_share_a_session_when_nothing_of_it_differs():
    one, other = link({"url": URL}), link({"url": URL, "objectID": "i=1", "publishingInterval": 50})
    assert one.session_key == other.session_key
    assert link({"url": URL, "userName": "x"}).session_key != one.session_key


def test_the_settings_of_kubeedges_own_mapper():
    """The names in its configuration file, which differ from those of a device."""
    file = {
        "username": "testuser",
        "password": "/ca/pass",
        "certificationFile": "/ca/clientcert.pem",
        "privateKeyFile": "/ca/clientkey.pem",
        "remoteCertificationFile": "/ca/servercert.pem",
    }
    read = link({"url": URL, "securityPolicy": "Basic256Sha256"} | file)
    assert (read.user_name, read.password_file) == ("testuser", "/ca/pass")
    assert (read.certificate, read.private_key) == ("/ca/clientcert.pem", "/ca/clientkey.pem")
    assert read.remote_certificate == "/ca/servercert.pem"
    common = {"reconnTimeout": 5, "reconnRetryTimes": 3, "collectType": "sync", "commType": "tcp"}
    assert link({"url": URL, "collectTimeout": 1, "collectRetryTimes": 2} | common).address == URL
    assert link({"url": URL, **dict.fromkeys(file, "")}).certificate is None


@pytest.mark.parametrize("policy", ["Basic128Rsa15", "Basic256"])
def test_policies_that_are_broken_are_refused(policy):
    with pytest.raises(ValidationError, match="Basic256Sha256"):
        link({"url": URL, "securityPolicy": policy})
