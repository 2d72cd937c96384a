"""Listening for devices, and proposing a model and a device for each one that is understood."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from pydantic import BaseModel, ConfigDict, Field

from dmi.errors import ConfigError, DmiError
from dmi.readings import Value
from mapper_sdk.driver import Proposal
from mappers.ble.advertisements import packet_of
from mappers.ble.formats import Packet, full_uuid, recognise
from mappers.ble.radio import open_radio
from mappers.ble.shared_radio import scanner_for
from mappers.ble.troubles import translated
from mappers.ble.values.characteristics import BY_NAME

__all__ = ["discover"]

_API = "devices.kubeedge.io/v1beta1"
_SERVICES = {
    full_uuid("180f"): ("battery_level",),
    full_uuid("1809"): ("temperature_measurement",),
    full_uuid("180d"): ("heart_rate_measurement",),
    full_uuid("1810"): ("blood_pressure_measurement",),
    full_uuid("181d"): ("weight_measurement",),
    full_uuid("181a"): ("temperature", "humidity", "pressure"),
    full_uuid("180a"): ("manufacturer_name", "model_number", "serial_number"),
}
"""What a standard service usually has. Source: the services' own specifications."""
_UNITS = {
    "temperature": "°C",
    "dewpoint": "°C",
    "humidity": "%",
    "battery": "%",
    "moisture": "%",
    "pressure": "hPa",
    "illuminance": "lx",
    "voltage": "V",
    "current": "A",
    "power": "W",
    "energy": "kWh",
    "co2": "ppm",
    "rssi": "dBm",
    "distance": "m",
}
_LISTEN = 3.0
"""Seconds after which a device has probably said all that it says often."""
_IDENTITY = {"ibeacon": ("uuid", "major", "minor"), "eddystone": ("namespace", "instance")}
_BEACON_UNITS = {"power": "dBm"}


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    radio: str = "hci0"
    seconds: float = Field(default=10.0, gt=0, le=600)
    all: bool = False


@dataclass(slots=True)
class _Found:
    """What was heard of one address."""

    packet: Packet
    since: float
    name: str = ""
    format: str = ""
    sealed: bool = False
    fields: dict[str, Value] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)

    def add(self, packet: Packet) -> None:
        """Take one more packet."""
        self.packet = packet
        self.name = packet.name or self.name
        self.services.update(packet.service_uuids)
        kind = recognise(packet)
        if kind is None:
            return
        self.format = kind.name
        try:
            decoded = kind.decode(packet, None)
        except DmiError as error:
            self.sealed = error.reason == "access_denied"
            return
        if decoded is not None:
            self.fields |= decoded.fields


async def discover(settings: Mapping[str, Any]) -> AsyncIterator[Proposal]:
    """Listen, and propose what was heard: recognised formats first, strong ones before weak.

    Those are proposed while others are still listened for, the rest at the end.

    Args:
        settings: `radio` as of a device (`hci0`), `seconds` to listen (10), and `all` to
            propose those too of which nothing is understood.

    Raises:
        ConfigError: A setting is wrong.
        DmiError: There is no such radio, or we may not use it; says the cure.
    """
    try:
        wanted = _Settings.model_validate(dict(settings))
    except ValueError as error:
        raise ConfigError(f"discovery: {error}") from error
    found: dict[str, _Found] = {}

    def heard(device: BLEDevice, data: AdvertisementData) -> None:
        packet = packet_of(device, data, time.time())
        found.setdefault(packet.address, _Found(packet, packet.time)).add(packet)

    proposed: set[str] = set()
    async with open_radio(wanted.radio) as backend:
        await backend.check()
        scanner = scanner_for(backend, heard, active=True)
        with translated(f"scanning by {wanted.radio}"):
            await scanner.start()
        try:
            end = time.monotonic() + wanted.seconds
            while (left := end - time.monotonic()) > 0:
                await asyncio.sleep(min(left, _LISTEN))
                for each in _ready(found, proposed):
                    yield _proposal(each, wanted.radio)
        finally:
            with translated(f"scanning by {wanted.radio}"):
                await scanner.stop()
    rest = sorted(found.items(), key=lambda item: (not item[1].format, -item[1].packet.rssi))
    for address, each in rest:
        if address not in proposed and (wanted.all or each.format or _characteristics(each)):
            yield _proposal(each, wanted.radio)


def _ready(found: Mapping[str, _Found], proposed: set[str]) -> list[_Found]:
    """What is recognised and was listened to long enough, the strongest first; once each."""
    limit = time.time() - _LISTEN
    ready = {a: f for a, f in found.items() if f.format and f.since <= limit and a not in proposed}
    proposed.update(ready)
    return sorted(ready.values(), key=lambda one: -one.packet.rssi)


def _characteristics(found: _Found) -> list[str]:
    return [name for uuid in sorted(found.services) for name in _SERVICES.get(uuid, ())]


def _proposal(found: _Found, radio: str) -> Proposal:
    address = found.packet.address
    name = _slug(found.format or found.name or "ble", address)
    config: dict[str, Any] = {"radio": radio}
    properties: dict[str, tuple[str, dict[str, Any]]]
    if found.format:
        config["format"] = found.format
        config |= _identity(found)
        if found.sealed:
            config["bindKey"] = "env:" + name.upper().replace("-", "_") + "_KEY"
        fields = {**found.fields, "rssi": found.packet.rssi}
        properties = {key: (_type(value), {"field": key}) for key, value in fields.items()}
    else:
        config |= {"kind": "gatt", "address": address}
        properties = {
            key: (_standard_type(key), {"characteristic": key}) for key in _characteristics(found)
        }
        properties["rssi"] = ("INT", {"field": "rssi"})
    units = _UNITS | (_BEACON_UNITS if found.format in _IDENTITY else {})
    return Proposal(_model(name, properties, units), _device(name, config, properties, found.name))


def _identity(found: _Found) -> dict[str, Any]:
    """Who it is: what it says where addresses may change, else its address."""
    keys = _IDENTITY.get(found.format, ())
    if keys and all(key in found.fields for key in keys):
        return {"content": ", ".join(f"{key}={found.fields[key]!s}" for key in keys)}
    return {"address": found.packet.address}


def _slug(word: str, address: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") or "ble"
    return f"{text}-{re.sub('[^0-9a-f]', '', address.lower())[-6:]}"


def _type(value: Value) -> str:
    kinds = {bool: "BOOLEAN", int: "INT", float: "DOUBLE", str: "STRING", bytes: "BYTES"}
    return kinds[type(value)]


def _standard_type(name: str) -> str:
    kind = BY_NAME[name].type
    if kind is None:
        return "DOUBLE"
    return {"string": "STRING", "bytes": "BYTES"}.get(kind.value, "DOUBLE")


def _model(
    name: str, properties: Mapping[str, tuple[str, dict[str, Any]]], units: Mapping[str, str]
) -> dict[str, Any]:
    declared = []
    for key, (kind, _) in properties.items():
        entry = {"name": key, "type": kind, "accessMode": "ReadOnly"}
        unit = units.get(re.sub(r"_\d+$", "", key))
        declared.append(entry | ({"unit": unit} if unit else {}))
    return {
        "apiVersion": _API,
        "kind": "DeviceModel",
        "metadata": {"name": name},
        "spec": {"protocol": "ble", "properties": declared},
    }


def _device(
    name: str,
    config: Mapping[str, Any],
    properties: Mapping[str, tuple[str, dict[str, Any]]],
    heard_as: str,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if heard_as:
        metadata["annotations"] = {"dmi-toolkit/advertised-name": heard_as}
    return {
        "apiVersion": _API,
        "kind": "Device",
        "metadata": metadata,
        "spec": {
            "deviceModelRef": {"name": name},
            "protocol": {"protocolName": "ble", "configData": dict(config)},
            "properties": [
                {"name": key, "visitors": {"protocolName": "ble", "configData": visitor}}
                for key, (_, visitor) in properties.items()
            ],
        },
    }
