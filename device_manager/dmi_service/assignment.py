"""Which of several instances of one protocol serves a device."""

from collections.abc import Sequence
from hashlib import blake2b

from dmi.resources import Key

__all__ = ["choose"]


def choose(device: Key, instances: Sequence[str]) -> str | None:
    """Pick one by rendezvous hashing; None when there is none.

    Everybody who knows the same instances picks the same one, in any order; when one
    comes or goes, only the devices that it gains or loses move.
    """
    if len(instances) < 2:
        return instances[0] if instances else None
    return max(instances, key=lambda instance: _weight(device, instance))


def _weight(device: Key, instance: str) -> tuple[bytes, str]:
    text = f"{device.namespace}/{device.name}\0{instance}"
    return blake2b(text.encode(), digest_size=8).digest(), instance
