"""Keys of paired devices, kept in a file, for radios that are driven past BlueZ.

A device knows us again by our address, which therefore is kept with them.
"""

import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bumble import hci
from bumble.core import InvalidArgumentError
from bumble.keys import MemoryKeyStore, PairingKeys

from dmi.errors import ConfigError

__all__ = ["Bonds"]

_log = logging.getLogger(__name__)


class Bonds(MemoryKeyStore):
    """The bonds of one radio. Its file is written with the first one, for its owner alone.

    Attributes:
        address: The static address that the radio is to use.
        problem: Why the file cannot be used; for those who pair.
    """

    def __init__(self, folder: Path | None, radio: str) -> None:
        """Load them.

        Args:
            folder: Where they are kept; None keeps them in memory.
            radio: As its setting is written; names the file.
        """
        super().__init__()
        self.address = hci.Address.generate_static_address()
        self.problem: ConfigError | None = None
        self._file = None if folder is None else folder / f"{_plain(radio)}.json"
        if self._file is not None:
            try:
                self._load(self._file)
            except ConfigError as error:
                self._file, self.problem = None, error

    def _load(self, file: Path) -> None:
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            self.address = hci.Address(known["address"], hci.AddressType.RANDOM_DEVICE)
            self.all_keys = {
                name: PairingKeys.from_dict(keys) for name, keys in known["bonds"].items()
            }
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(f"the bonds in {file} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, InvalidArgumentError) as error:
            raise ConfigError(
                f"{file} holds no bonds: {error!r}; put back what was there, or remove it and pair "
                "the devices again"
            ) from error

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Keep the keys of a device, by its address."""
        await super().update(name, keys)
        self._save()

    async def delete(self, name: str) -> None:
        """Forget a device; nothing to do for one that is not known."""
        await super().delete(name)
        self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        known = {
            "address": self.address.to_string(with_type_qualifier=False),
            "bonds": {name: keys.to_dict() for name, keys in self.all_keys.items()},
        }
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_privately(self._file, known)
        except OSError as error:
            # The link works; only the next start of the mapper will have to pair again.
            _log.error(
                "the bonds of paired devices cannot be kept in %s: %s; set `bondDir`",
                self._file,
                error.strerror,
            )


def _write_privately(file: Path, known: Mapping[str, Any]) -> None:
    """Replace a file as a whole by one that only its owner reads, as `mkstemp` makes them."""
    handle, new = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as output:
            json.dump(known, output, indent=1)
            output.flush()
            os.fsync(output.fileno())
        Path(new).replace(file)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise


def _plain(radio: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", radio).strip("-.")
