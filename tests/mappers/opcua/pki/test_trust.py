"""Which servers are accepted: by their own certificate, or by who issued it."""

import datetime
import ipaddress
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dmi.errors import AccessDeniedError, ConfigError
from mappers.opcua.config import OpcuaLink
from mappers.opcua.pki.files import split
from mappers.opcua.pki.trust import check_server

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
DER = Encoding.DER


class Authority:
    """Somebody with a certificate, who may issue others."""

    def __init__(
        self, name, issuer=None, *, ca=True, days=(-1, 1), length=None, usage=True, san=()
    ):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + days[0] * DAY)
            .not_valid_after(NOW + days[1] * DAY)
        )
        if ca is not None:
            limits = x509.BasicConstraints(ca=ca, path_length=length)
            builder = builder.add_extension(limits, critical=True)
        if usage is not True:
            flags = dict.fromkeys(
                (
                    *("digital_signature", "content_commitment", "key_encipherment"),
                    *("data_encipherment", "key_agreement", "crl_sign"),
                    *("encipher_only", "decipher_only"),
                ),
                False,
            )
            builder = builder.add_extension(
                x509.KeyUsage(key_cert_sign=bool(usage), **flags), critical=True
            )
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    @property
    def der(self):
        return self.certificate.public_bytes(DER)

    def revoking(self, *others, days=(-1, 1)):
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(NOW + days[0] * DAY)
            .next_update(NOW + days[1] * DAY)
        )
        for other in others:
            entry = x509.RevokedCertificateBuilder().serial_number(other.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(DER)


def plc(issuer, **options):
    names = [x509.DNSName("PLC.local"), x509.IPAddress(ipaddress.ip_address("192.0.2.7"))]
    return Authority("PLC", issuer, **{"ca": False, "san": names} | options)


class Folders:
    """A pkiDir, and settings that name it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def link(self, host="plc.local", **settings):
        data = {"url": f"opc.tcp://{host}", "pkiDir": str(self.folder), "securityMode": "Sign"}
        return OpcuaLink.model_validate(data | settings)

    def put(self, where, content, name="one.der"):
        (self.folder / where).mkdir(parents=True, exist_ok=True)
        (self.folder / where / name).write_bytes(content)

    def refused(self, shown, told, **settings):
        with pytest.raises(AccessDeniedError, match=told) as refusal:
            check_server(self.link(**settings), shown)
        return str(refusal.value)


@pytest.fixture
def pki(tmp_path):
    return Folders(tmp_path)


@pytest.fixture(scope="module")
def root():
    return Authority("Root")


@pytest.fixture(scope="module")
def middle(root):
    return Authority("Middle", root, usage=1)


def test_a_stranger_is_refused_with_both_cures(pki, root):
    told = pki.refused(plc(root).der, "nobody has accepted")
    assert "put the certificate of CN=Root there" in told
    _, source, target = told.partition("mv ")[2].join(["mv ", ""]).split(" ;")[0].split()
    shutil.move(source, target)
    (kept,) = (pki.folder / "trusted").iterdir()
    check_server(pki.link(), kept.read_bytes())


@pytest.mark.parametrize("host", ["plc.local", "192.0.2.7"])
def test_an_issuer_stands_for_its_servers(pki, root, host):
    pki.put("trusted", root.certificate.public_bytes(Encoding.PEM))
    check_server(pki.link(host), plc(root).der)
    check_server(pki.link(host), plc(root).der)


def test_a_server_of_the_issuer_is_not_any_server_of_it(pki, root):
    pki.put("trusted", root.der)
    pki.refused(plc(root).der, "not for the host other.local of `url`", host="other.local")
    pki.refused(plc(root, san=()).der, "not for the host 192.0.2.7", host="192.0.2.7")
    pki.refused(plc(root).der, "not for the host", host="192.0.2.8")


@pytest.mark.parametrize("known", ["sent", "issuers", "trusted"])
def test_issuers_between(pki, root, middle, known):
    pki.put("trusted", root.der)
    server = plc(middle)
    shown = server.der
    if known == "sent":
        shown += middle.der + root.der
        assert [one.subject for one in split(shown)] == [server.name, middle.name, root.name]
    else:
        pki.refused(server.der, "nobody has accepted")
        pki.put(known, middle.der, "two.der")
    check_server(pki.link(), shown)


def test_an_issuer_that_is_only_known_is_not_trusted(pki, root):
    pki.put("issuers", root.der)
    pki.refused(plc(root).der, "nobody has accepted")


@pytest.mark.parametrize(
    "options", [{"ca": False}, {"ca": None}, {"usage": 0}, {"length": 0}], ids=str
)
def test_who_may_not_issue(pki, options):
    issuer = Authority("Root", **options)
    server = plc(issuer)
    if "length" in options:
        between = Authority("Middle", issuer)
        pki.put("issuers", between.der)
        server = plc(between)
    pki.put("trusted", issuer.der)
    pki.refused(server.der, "nobody has accepted")


def test_a_name_alone_makes_no_issuer(pki, root):
    pki.put("trusted", Authority("Root").der)
    pki.refused(plc(root).der, "nobody has accepted")


def test_periods(pki, root):
    pki.put("trusted", root.der)
    pki.refused(plc(root, days=(-3, -2)).der, "the server's certificate ended at .* a new one")
    pki.refused(plc(root, days=(1, 2)).der, "is one of the two clocks wrong")
    old = Authority("Old", days=(-3, -1))
    pki.put("trusted", old.der, "old.der")
    pki.refused(plc(old).der, "the certificate of the issuer CN=Old ended")


def test_revocations(pki, root):
    pki.put("trusted", root.der)
    server = plc(root)
    pki.put("crl", root.revoking(plc(root)))
    check_server(pki.link(), server.der)
    pki.put("crl", Authority("Root").revoking(server), "false.crl")
    check_server(pki.link(), server.der)
    pki.put("crl", root.revoking(days=(-9, -8)), "old.crl")
    check_server(pki.link(), server.der)
    pki.put("crl", root.revoking(server, days=(0, 1)), "new.crl")
    pki.refused(server.der, "CN=PLC was revoked by CN=Root")
    shutil.rmtree(pki.folder / "crl")
    pki.put("crl", root.revoking(days=(-9, -8)), "old.crl")
    pki.refused(server.der, "put a newer one into crl/")


def test_one_that_is_named_and_no_other(pki, root, tmp_path):
    server = plc(root)
    path = tmp_path / "plc.der"
    path.write_bytes(server.der)
    check_server(pki.link(remoteCertificate=str(path)), server.der)
    pki.refused(plc(root).der, "is not the one in", remoteCertificate=str(path))


def test_what_is_no_certificate(pki, root, tmp_path):
    for shown in (b"", b"\x30", b"\x30\x03abc"):
        pki.refused(shown, "a certificate that is none")
    check_server(pki.link(trustAnyServer=True), b"anything")
    pki.put("trusted", b"-----BEGIN NOTHING", "bad.pem")
    with pytest.raises(ConfigError, match=r"bad.pem is no certificate"):
        check_server(pki.link(), root.der)
    shutil.rmtree(pki.folder / "trusted")
    pki.put("crl", b"nothing", "bad.crl")
    with pytest.raises(ConfigError, match=r"bad.crl is no revocation list"):
        check_server(pki.link(), root.der)
    nowhere = tmp_path / "file"
    nowhere.write_bytes(b"")
    with pytest.raises(ConfigError, match="set `pkiDir`"):
        check_server(pki.link(pkiDir=str(nowhere)), root.der)
    with pytest.raises(ConfigError, match=r"gone.der"):
        check_server(pki.link(remoteCertificate="/gone.der"), root.der)
