"""Which endpoint of a server is used, how messages are protected there, and who logs in."""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from asyncua import Client, ua
from asyncua.client.ua_session import UaSession
from asyncua.crypto import security_policies, uacrypto

from dmi.errors import AccessDeniedError, ConfigError, DmiError, UnavailableError
from mappers.opcua.config import OpcuaLink, SecurityMode, SecurityPolicy
from mappers.opcua.pki.files import File, load_pair, read_file
from mappers.opcua.pki.own import application_uri, own_certificate, own_path
from mappers.opcua.pki.trust import check_server
from mappers.opcua.values.refusals import error_of, status_name

__all__ = ["choose_endpoint", "connection_error", "prepared_client"]

_POLICIES = {
    SecurityPolicy.BASIC256SHA256: security_policies.SecurityPolicyBasic256Sha256,
    SecurityPolicy.AES128: security_policies.SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicy.AES256: security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_BY_URI = {str(policy.URI): name for name, policy in _POLICIES.items()}
_MODES = {
    SecurityMode.SIGN: ua.MessageSecurityMode.Sign,
    SecurityMode.ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}

_UNWELCOME = frozenset(
    getattr(ua.StatusCodes, name)
    for name in (
        *("BadSecurityChecksFailed", "BadCertificateUntrusted", "BadCertificateInvalid"),
        *("BadCertificateUriInvalid", "BadCertificateTimeInvalid", "BadCertificateRevoked"),
        *("BadCertificateUseNotAllowed", "BadCertificateChainIncomplete"),
        *("BadCertificateHostNameInvalid", "BadCertificateIssuerTimeInvalid"),
    )
)
"""What servers say of a certificate of ours that they do not like."""


class _Session(UaSession):  # type: ignore[misc]  # asyncua is not typed soundly
    """asyncua's session without its own publish loop: ours keeps count of what is missing."""

    def ensure_publish_loop(self) -> None:
        """Start nothing."""


def connection_error(error: Exception, link: OpcuaLink, what: str) -> DmiError:
    """The error that an exception stands for that came while connecting.

    Where the server does not like our certificate, the text says what is to be done.
    """
    # asyncua asserts, after a refusal, that the server has let it in; which one it was is lost.
    lost = isinstance(error, AssertionError)
    if link.mode is not SecurityMode.NONE and (lost or getattr(error, "code", 0) in _UNWELCOME):
        reason = "" if lost else f" ({status_name(getattr(error, 'code', 0))})"
        return AccessDeniedError(
            f"{what}: the server does not accept our certificate{reason}; its owner must, "
            f"it is {own_path(link)}"
        )
    return UnavailableError(f"{what}: the server hung up") if lost else error_of(error, what)


async def prepared_client(link: OpcuaLink) -> Client:
    """A client that is ready to connect: endpoint, cryptography and login are chosen.

    Raises:
        AccessDeniedError: The server is not trusted.
        ConfigError: The server does not offer what the settings want, or a file is wrong.
    """
    client = _new_client(link, link.address)
    if link.mode is not SecurityMode.NONE or link.follow_endpoint:
        endpoint = choose_endpoint(await client.connect_and_get_server_endpoints(), link)
        if link.follow_endpoint:
            client = _new_client(link, endpoint.EndpointUrl)
        if link.mode is not SecurityMode.NONE:
            await _protect(client, link, endpoint)
    await _identify(client, link)
    return client


def choose_endpoint(
    endpoints: Sequence[ua.EndpointDescription], link: OpcuaLink
) -> ua.EndpointDescription:
    """The endpoint that has the policy and mode of the settings; the strongest of several.

    Raises:
        ConfigError: The server has none such; the text says which it has.
    """
    mode = _MODES.get(link.mode, ua.MessageSecurityMode.None_)
    known = {uri for uri, name in _BY_URI.items() if link.policy in {None, name}}
    if link.policy is SecurityPolicy.NONE:
        known = {str(security_policies.SecurityPolicyNone.URI)}
    fitting = [e for e in endpoints if e.SecurityMode == mode and e.SecurityPolicyUri in known]
    if fitting:
        return max(fitting, key=lambda endpoint: endpoint.SecurityLevel or 0)
    offered = {f"{e.SecurityPolicyUri.rpartition('#')[2]}/{e.SecurityMode.name}" for e in endpoints}
    raise ConfigError(
        f"the server has no endpoint with {link.policy or 'any policy'} and {link.mode}; "
        f"it has {', '.join(sorted(offered)).replace('None_', 'None')}"
    )


def _new_client(link: OpcuaLink, url: str) -> Client:
    if not urlsplit(url).port:
        raise ConfigError(f"the server's endpoint {url} has no port")
    client = Client(url, timeout=link.timeout)
    client.name = client.description = "dmi-toolkit"
    client.application_uri = application_uri(link)
    client.session_timeout = int(link.session_timeout * 1000)
    client.uaclient.session = _Session(client.uaclient)
    return client


async def _protect(client: Client, link: OpcuaLink, endpoint: ua.EndpointDescription) -> None:
    server = uacrypto.x509_from_der(endpoint.ServerCertificate)
    if server is None:
        raise AccessDeniedError("the server shows no certificate")
    await asyncio.to_thread(check_server, link, endpoint.ServerCertificate)
    certificate, key = await asyncio.to_thread(own_certificate, link)
    await client.set_security(
        _POLICIES[_BY_URI[endpoint.SecurityPolicyUri]],
        _properties(certificate),
        _properties(key),
        server_certificate=uacrypto.CertProperties(uacrypto.der_from_x509(server)),
        mode=_MODES[link.mode],
    )


def _properties(file: File) -> uacrypto.CertProperties:
    return uacrypto.CertProperties(file.content, file.encoding)


async def _identify(client: Client, link: OpcuaLink) -> None:
    if link.user_name is not None:
        client.set_user(link.user_name)
        if link.password_file is not None:
            client.set_password(await asyncio.to_thread(_password, link.password_file))
    if link.user_certificate is not None and link.user_private_key is not None:
        names = link.user_certificate, link.user_private_key
        certificate, key = await asyncio.to_thread(load_pair, *names)
        client.user_certificate = await uacrypto.load_certificate(
            certificate.content, certificate.encoding
        )
        client.user_private_key = await uacrypto.load_private_key(
            key.content, extension=key.encoding
        )


def _password(path: str) -> str:
    try:
        return read_file(path).content.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} does not hold a password in UTF-8") from error
