"""The settings of BLE devices, ours and KubeEdge's.

`python -m mappers.ble.config docs/ble.md` writes their tables into the manual.
"""

import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mapper_sdk.devices.spelling import SpelledSettings, word_for
from mapper_sdk.settings_docs import render
from mappers.ble.formats import FORMATS
from mappers.ble.radio import check_radio
from mappers.ble.secrets import check_reference
from mappers.ble.visit import BleVisit

__all__ = ["BleLink", "BleVisit", "FormatName", "Kind", "Scan", "render_tables"]


class Kind(StrEnum):
    """How a device gives its values."""

    ADVERTISEMENT = "advertisement"
    GATT = "gatt"


class Scan(StrEnum):
    """Whether the radio only listens or also asks for scan responses."""

    ACTIVE = "active"
    PASSIVE = "passive"


FormatName = StrEnum("FormatName", {name.upper(): name for name in FORMATS})  # type: ignore[misc]  # mypy wants the words here
"""Names of the formats of advertisements."""

_KINDS = {"advert": Kind.ADVERTISEMENT, "beacon": Kind.ADVERTISEMENT, "connect": Kind.GATT}
_FORMATS = {
    "bthomev2": "bthome",
    "ruuvitag": "ruuvi",
    "xiaomi": "mibeacon",
    "pvvx": "atc",
    "applebeacon": "ibeacon",
}
_NAMES = {
    "macaddress": "address",
    "mac": "address",
    "devicename": "name",
    "localname": "name",
    "irk": "identityKey",
    "encryptionkey": "bindKey",
    "adapter": "radio",
}
_IGNORED = frozenset(
    # Settings of KubeEdge's v1alpha2 samples whose part here is played by the session.
    {"collecttimeout", "collectretrytimes", "collecttype", "reconntimeout", "reconnretrytimes"}
)
_ADDRESS = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}")

Seconds = Annotated[float, Field(ge=0, json_schema_extra={"unit": "s"})]


def _spell_address(given: object) -> object:
    """Bring an address into its usual form; other identifiers pass (macOS has UUIDs)."""
    if not isinstance(given, str):
        return given
    return given.strip().upper().replace("-", ":") if len(given.strip()) == 17 else given


class BleLink(SpelledSettings):
    """Who a device is and how it is heard or reached. Keys may be written in any case."""

    other_names = _NAMES
    ignored_names = _IGNORED

    radio: str = Field(
        default="hci0",
        min_length=1,
        description="`hci0` and so on: an adapter of BlueZ. `tcp-client:HOST:PORT`, "
        "`serial:/dev/ttyACM0,115200`, `usb:0`: a controller that is driven past BlueZ.",
    )
    kind: Annotated[Kind | None, BeforeValidator(word_for(Kind, _KINDS))] = Field(
        default=None,
        description="`advertisement` for a device that is only heard, `gatt` for one that is "
        "connected. Without it: `advertisement` where `format`, `bindKey` or `content` is set.",
    )
    address: Annotated[str | None, BeforeValidator(_spell_address)] = Field(
        default=None, description="Its address. KubeEdge: `macAddress`."
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        description="The name that it advertises; `*` stands for anything.",
    )
    identity_key: str | None = Field(
        default=None,
        description="For a device that changes its address: where its identity resolving key is, "
        "as `env:NAME` or `file:PATH` with 32 hexadecimal digits. Also: `irk`.",
    )
    content: str | None = Field(
        default=None,
        description="What its advertisements say, whatever their address: fields of its format, "
        "as `uuid=426c7565-..., major=1`.",
    )
    format: Annotated[FormatName | None, BeforeValidator(word_for(FormatName, _FORMATS))] = Field(
        default=None,
        description="Format of its advertisements. Without it each one is recognised.",
    )
    bind_key: str | None = Field(
        default=None,
        description="Where the key of its encrypted advertisements is: `env:NAME` or `file:PATH` "
        "with 32 hexadecimal digits, 24 for MiBeacon 2 and 3. Open ones are refused then.",
    )
    freshness: Seconds = Field(
        default=60.0,
        gt=0,
        description="A value that was not advertised again for so long is `stale`.",
    )
    lost_after: Seconds = Field(
        default=300.0, gt=0, description="A device not heard for so long is offline."
    )
    duplicate_window: Seconds = Field(
        default=0.5,
        le=60,
        description="Equal advertisements without a packet number count as one for so long.",
    )
    scan: Annotated[Scan, BeforeValidator(word_for(Scan, {}))] = Field(
        default=Scan.ACTIVE,
        description="`active` asks for scan responses, which often bring the name; `passive` only "
        "listens. A radio scans actively if one of its devices wants it.",
    )
    slots: int = Field(
        default=3,
        ge=1,
        le=64,
        description="Links that the radio holds at once; the smallest of its devices' counts.",
    )
    find_timeout: Seconds = Field(
        default=8.0,
        gt=0,
        le=60,
        description="How long to listen for a device before it counts as out of range.",
    )
    slot_timeout: Seconds = Field(
        default=20.0, gt=0, le=300, description="How long to wait for a free slot."
    )
    connect_timeout: Seconds = Field(
        default=15.0, gt=0, le=60, description="How long connecting may take, with all attempts."
    )
    timeout: Seconds = Field(
        default=5.0, gt=0, le=60, description="How long one read or write may take."
    )
    attempts: int = Field(
        default=2, ge=1, le=10, description="How often connecting is tried before it failed."
    )
    lease: Seconds = Field(
        default=15.0,
        gt=0,
        le=3600,
        description="How long a link is kept that something is pushed over, if others wait for "
        "its slot; then the device is served in turns, as long after. Keep it below `slotTimeout`.",
    )
    idle_release: Seconds = Field(
        default=5.0,
        description="A link that nothing is pushed over is given up after so long without use; "
        "earlier when another device waits for its slot.",
    )
    keep_link: bool = Field(
        default=False,
        description="Never give the link up, neither between polls nor when its lease has ended.",
    )
    pair: bool = Field(
        default=False, description="Pair before anything else, if that has not been done."
    )
    passkey: str | None = Field(
        default=None,
        description="Where the six digits are that the device shows for pairing, or has printed on "
        "it: `env:NAME` or `file:PATH`.",
    )
    confirm_numbers: bool = Field(
        default=False,
        description="Pair a device that wants two numbers compared, and say that they are equal; "
        "the log tells ours.",
    )
    bond_dir: str | None = Field(
        default=None,
        min_length=1,
        description="Folder for the keys of paired devices, where BlueZ does not keep them; equal "
        "for all devices of a radio. Without it `$XDG_STATE_HOME/dmi/ble`, usually "
        "`~/.local/state/dmi/ble`.",
    )

    @field_validator("radio")
    @classmethod
    def _is_radio(cls, given: str) -> str:
        return check_radio(given)

    @field_validator("bind_key", "identity_key", "passkey")
    @classmethod
    def _is_reference(cls, given: str | None) -> str | None:
        return None if given is None else check_reference(given)

    @field_validator("address")
    @classmethod
    def _is_address(cls, given: str | None) -> str | None:
        if given is not None and len(given) == 17 and not _ADDRESS.fullmatch(given):
            raise ValueError(f"{given!r} is no address: write it as A4:C1:38:00:00:01")
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.address or self.name or self.identity_key or self.content):
            raise ValueError("set one of `address`, `name`, `identityKey` and `content`")
        if self.content is not None:
            _ = self.wanted_content
        if self.connects and self.content is not None:
            raise ValueError("`content` identifies advertisements; a gatt device has none")
        if not self.pair and (self.passkey is not None or self.confirm_numbers):
            raise ValueError("passkey and confirmNumbers mean nothing without pair")
        if self.passkey is not None and self.confirm_numbers:
            raise ValueError("a device has a passkey or compares numbers, not both")
        return self

    @property
    def connects(self) -> bool:
        """Whether the device is connected."""
        if self.kind is not None:
            return self.kind is Kind.GATT
        return self.format is None and self.bind_key is None and self.content is None

    @property
    def wanted_content(self) -> dict[str, str]:
        """The fields of `content`, in lower case.

        Raises:
            ValueError: It is not written as field=value, field=value.
        """
        found: dict[str, str] = {}
        for part in (self.content or "").split(","):
            field, equals, value = part.partition("=")
            if not equals or not field.strip() or not value.strip():
                raise ValueError("content must be written as field=value, field=value")
            found[field.strip().lower()] = value.strip().lower()
        return found

    @property
    def bonds(self) -> Path:
        """Folder for the keys of paired devices."""
        if self.bond_dir is not None:
            return Path(self.bond_dir)
        state = os.environ.get("XDG_STATE_HOME")
        return (Path(state) if state else Path.home() / ".local" / "state") / "dmi" / "ble"

    @property
    def who(self) -> str:
        """The device, in the words of messages."""
        if self.address:
            return self.address
        if self.name:
            return repr(self.name)
        return self.content or "the device of that identity key"


def render_tables(document: str) -> str:
    """Put the tables of settings into docs/ble.md, each between its two marks."""
    return render(document, {"device": BleLink, "property": BleVisit})


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(render_tables(page.read_text()))
