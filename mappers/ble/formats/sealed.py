"""AES as the formats use it: sealed payloads, and the hash of private addresses."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from dmi.errors import AccessDeniedError

__all__ = ["open_sealed", "open_unchecked", "resolves"]

_TAG = 4
_KEY = 16


def open_sealed(
    key: bytes | None, nonce: bytes, sealed: bytes, tag: bytes, associated: bytes | None = None
) -> bytes:
    """Decrypt and check AES-CCM with a tag of four bytes.

    Raises:
        AccessDeniedError: There is no key, or it is not the one of this device.
    """
    key = _usable(key)
    try:
        return AESCCM(key, tag_length=_TAG).decrypt(nonce, sealed + tag, associated)
    except InvalidTag as error:
        raise AccessDeniedError("`bindKey` does not open the advertisement") from error


def open_unchecked(key: bytes | None, nonce: bytes, sealed: bytes) -> bytes:
    """Decrypt AES-CCM that has no tag: a wrong key gives random bytes.

    Args:
        key: 16 bytes.
        nonce: 13 bytes.
        sealed: What is encrypted.

    Raises:
        AccessDeniedError: There is no key, or it has not 16 bytes.

    Source:
        RFC 3610, section 2.3: with such a nonce the first block of the key stream is that of
        the flags 1, the nonce and the counter 1.
    """
    counter = modes.CTR(b"\x01" + nonce + b"\x00\x01")
    decryptor = Cipher(algorithms.AES(_usable(key)), counter).decryptor()
    return decryptor.update(sealed) + decryptor.finalize()


def _usable(key: bytes | None) -> bytes:
    if key is None:
        raise AccessDeniedError("the advertisement is encrypted: set `bindKey`")
    if len(key) != _KEY:
        raise AccessDeniedError(f"the advertisement needs a `bindKey` of {2 * _KEY} digits")
    return key


def resolves(identity_key: bytes, address: bytes) -> bool:
    """Whether a private address was made with this identity resolving key.

    Source: Bluetooth Core Specification, Vol 6, Part B, section 1.3.2.2, and Vol 3, Part H,
    section 2.2.2 (the hash `ah`).

    Args:
        identity_key: 16 bytes, most significant first.
        address: 6 bytes, most significant first.
    """
    if address[0] >> 6 != 0b01:
        return False
    # One block under one key is a hash here, so that the mode without chaining is right.
    cipher = Cipher(algorithms.AES(identity_key), modes.ECB())  # noqa: S305 - see above
    encryptor = cipher.encryptor()
    block = encryptor.update(address[:3].rjust(16, b"\0")) + encryptor.finalize()
    return block[13:] == address[3:]
