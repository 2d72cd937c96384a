"""Pairing on a radio that bumble drives: just so, by a passkey, or by comparing numbers."""

import logging
from collections.abc import Mapping

from bumble.device import Connection, Device
from bumble.pairing import PairingConfig, PairingDelegate

from mappers.ble.radio import PairingWay

__all__ = ["Passkey", "answer_pairing"]

_log = logging.getLogger(__name__)


class Passkey(int):
    """A passkey, which is one also if it is 000000; bumble takes a plain 0 for none."""

    def __bool__(self) -> bool:
        """It is there."""
        return True


class _Passkey(PairingDelegate):
    """Types a passkey in, as a person would."""

    def __init__(self, passkey: int) -> None:
        super().__init__(PairingDelegate.IoCapability.KEYBOARD_INPUT_ONLY)
        self._passkey = Passkey(passkey)

    async def get_number(self) -> int | None:
        """The passkey that the other side shows, or has printed on it."""
        return self._passkey


class _Comparing(PairingDelegate):
    """Shows a number that the other side shows too, and says that they are equal."""

    def __init__(self, address: str) -> None:
        super().__init__(PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_YES_NO_INPUT)
        self._address = address

    async def compare_numbers(self, number: int, digits: int) -> bool:
        """Whoever reads the log can still compare them."""
        _log.warning("%s is paired: it should have shown %0*d", self._address, digits, number)
        return True


def answer_pairing(device: Device, ways: Mapping[str, PairingWay]) -> None:
    """Let a device pair with secure connections, and bond.

    Args:
        device: Whose links are paired.
        ways: Of the peers that are paired in a way of their own, by address; looked up with each
            pairing. The others are paired as a device without display and keys is.
    """

    def config(connection: Connection) -> PairingConfig:
        address = connection.peer_address.to_string(with_type_qualifier=False)
        way = ways.get(address, PairingWay())
        delegate = PairingDelegate()
        if way.passkey is not None:
            delegate = _Passkey(way.passkey)
        elif way.confirm:
            delegate = _Comparing(address)
        return PairingConfig(
            mitm=way.passkey is not None or way.confirm,
            delegate=delegate,
            # The address that our links are made from, so that a bonded device knows us by it.
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    device.pairing_config_factory = config
