"""Pairing on a radio that bumble drives: just works, or with a passkey of six digits."""

from collections.abc import Mapping

from bumble.device import Connection, Device
from bumble.pairing import PairingConfig, PairingDelegate

__all__ = ["answer_pairing"]


class _Passkey(PairingDelegate):
    """Types a passkey in, as a person would."""

    def __init__(self, passkey: int) -> None:
        super().__init__(PairingDelegate.IoCapability.KEYBOARD_INPUT_ONLY)
        self._passkey = passkey

    async def get_number(self) -> int | None:
        """The passkey that the other side shows, or has printed on it."""
        return self._passkey


def answer_pairing(device: Device, passkeys: Mapping[str, int]) -> None:
    """Let a device pair with secure connections, and bond.

    Args:
        device: Whose links are paired.
        passkeys: Of the peers that have one, by address; looked up with each pairing. The
            others are paired as a device without display and keys is.
    """

    def config(connection: Connection) -> PairingConfig:
        address = connection.peer_address.to_string(with_type_qualifier=False)
        passkey = passkeys.get(address)
        delegate = PairingDelegate() if passkey is None else _Passkey(passkey)
        return PairingConfig(mitm=passkey is not None, delegate=delegate)

    device.pairing_config_factory = config
