"""UUIDs as bleak writes them: 128 bits, in lower-case text."""

from functools import lru_cache
from uuid import UUID

__all__ = ["full_uuid"]

_BASE = UUID("00000000-0000-1000-8000-00805f9b34fb").int
"""Core Specification, Vol 3, Part B, 2.5.1."""


@lru_cache(maxsize=1024)
def full_uuid(little: bytes) -> str:
    """Write out a UUID of 2, 4 or 16 bytes in the order of the wire, lowest byte first."""
    value = int.from_bytes(little, "little")
    return str(UUID(int=value if len(little) == 16 else _BASE + (value << 96)))
