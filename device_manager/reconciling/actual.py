"""What each v1beta1 mapper is known to hold, by a digest of what it was sent.

The contract has no way to ask a mapper (KubeEdge's own mapper crashes on GetDevice), so this
must survive a restart of the manager: without it every device would have to be sent again, and
each is restarted by its mapper when that happens.
"""

from collections.abc import Iterable, Mapping

from device_manager.storage import rows
from device_manager.storage.store import Store, Write
from dmi.resources import Key

__all__ = ["Actual", "Item"]

Item = tuple[str, Key]
"""Kind ("Device" or "DeviceModel") and key."""


class Actual:
    """By protocol; the one mapper of a protocol that registered last."""

    def __init__(self, store: Store, kept: Iterable[tuple[str, str, Key, bytes]]) -> None:
        self._store = store
        self._held: dict[str, dict[Item, bytes]] = {}
        for protocol, kind, key, digest in kept:
            self._held.setdefault(protocol, {})[kind, key] = digest

    def held(self, protocol: str) -> Mapping[Item, bytes]:
        """Everything that the mapper of a protocol has accepted."""
        return self._held.setdefault(protocol, {})

    def accept(self, protocol: str, item: Item, digest: bytes) -> None:
        """The mapper has accepted an object in this form."""
        self._held.setdefault(protocol, {})[item] = digest
        self._store.post(Write([rows.accepted_put(protocol, *item, digest)], keep=True))

    def drop(self, protocol: str, item: Item) -> None:
        """The mapper has let go of an object."""
        self._held.setdefault(protocol, {}).pop(item, None)
        self._store.post(Write([rows.accepted_remove(protocol, *item)], keep=True))

    def replace(self, protocol: str, held: Mapping[Item, bytes]) -> None:
        """The mapper has started afresh and holds exactly this."""
        self._held[protocol] = dict(held)
        puts = [rows.accepted_put(protocol, *item, digest) for item, digest in held.items()]
        self._store.post(Write([rows.accepted_clear(protocol), *puts], keep=True))
