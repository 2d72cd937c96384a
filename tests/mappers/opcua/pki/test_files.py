"""Files of certificates, keys and passwords that are not what they should be."""

import socket

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dmi.errors import ConfigError
from mapper_sdk.sessions.bus import Bus
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.pki.files import load_pair
from mappers.opcua.pki.own import application_uri, own_certificate

link = OpcuaLink.model_validate
URL = "opc.tcp://127.0.0.1:1"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    own_certificate(link({"url": URL, "pkiDir": str(folder)}))
    certificate, key = next(folder.rglob("*.der")), next(folder.rglob("*.key.pem"))
    return str(certificate), str(key)


def key_bytes(encoding, protection=None):
    private = rsa.generate_private_key(65537, 2048)
    protection = protection or serialization.NoEncryption()
    return private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, protection)


def test_a_pair_in_either_encoding(pair, tmp_path):
    assert [file.encoding for file in load_pair(*pair)] == ["der", "pem"]
    loaded = serialization.load_pem_private_key(load_pair(*pair)[1].content, None)
    der = tmp_path / "key.der"
    der.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    assert load_pair(pair[0], str(der))[1].encoding == "der"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nothing", "is no private key"),
        (b"-----BEGIN PRIVATE KEY-----\n", "is no private key"),
        (key_bytes(serialization.Encoding.DER), "is not the key of the certificate"),
        (
            key_bytes(serialization.Encoding.PEM, serialization.BestAvailableEncryption(b"x")),
            "is encrypted",
        ),
    ],
)
def test_keys_that_are_none(pair, tmp_path, content, told):
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        own_certificate(link({"url": URL, "certificate": pair[0], "privateKey": str(key)}))


async def test_files_of_a_user(pair, tmp_path):
    async def connect(**settings):
        driver = OpcuaDriver(link({"url": URL} | settings))
        driver.bus = Bus()
        await driver.connect()

    key, latin = tmp_path / "key", tmp_path / "latin"
    key.write_bytes(b"nothing")
    latin.write_bytes("käse".encode("latin-1"))
    with pytest.raises(ConfigError, match="no private key"):
        await connect(userCertificate=pair[0], userPrivateKey=str(key))
    with pytest.raises(ConfigError, match="no certificate"):
        await connect(userCertificate=pair[1], userPrivateKey=pair[1])
    with pytest.raises(ConfigError, match="UTF-8"):
        await connect(userName="operator", passwordFile=str(latin))
    with pytest.raises(ConfigError, match="gone"):
        await connect(userName="operator", passwordFile="/gone")


def test_our_own_is_made_once_and_again_when_it_is_over(tmp_path, monkeypatch):
    settings = link({"url": URL, "pkiDir": str(tmp_path)})
    assert application_uri(settings) == f"urn:{socket.gethostname()}:dmi:opcua"
    first = own_certificate(settings)
    assert own_certificate(settings) == first
    monkeypatch.setattr("mappers.opcua.pki.own._is_over", lambda _: True)
    assert own_certificate(settings) != first
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(ConfigError, match="set `pkiDir`"):
        own_certificate(link({"url": URL, "pkiDir": str(blocked)}))
