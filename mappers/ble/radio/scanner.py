"""bleak's scanner on a radio that bumble drives."""

from collections.abc import Iterator
from typing import Any, Literal

from bleak.backends.scanner import (
    AdvertisementData,
    AdvertisementDataCallback,
    BaseBleakScanner,
)
from bumble.core import AdvertisingData

from mappers.ble.radio.host import RadioHost
from mappers.ble.radio.reports import Advertisement
from mappers.ble.radio.uuids import full_uuid

__all__ = ["BumbleScanner", "advertisement_data"]

_SIZES: dict[int, int] = {
    AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.INCOMPLETE_LIST_OF_32_BIT_SERVICE_CLASS_UUIDS: 4,
    AdvertisingData.COMPLETE_LIST_OF_32_BIT_SERVICE_CLASS_UUIDS: 4,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
}
_DATA_SIZES: dict[int, int] = {
    AdvertisingData.SERVICE_DATA_16_BIT_UUID: 2,
    AdvertisingData.SERVICE_DATA_32_BIT_UUID: 4,
    AdvertisingData.SERVICE_DATA_128_BIT_UUID: 16,
}
_NAMES = (AdvertisingData.SHORTENED_LOCAL_NAME, AdvertisingData.COMPLETE_LOCAL_NAME)


_DEVICES = 4096
"""How many devices are remembered; many change their address all the time."""


class BumbleScanner(BaseBleakScanner):
    """Reports every advertisement that the controller reports, repeated ones too."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: Literal["active", "passive"],
        *,
        radio: RadioHost,
        **_: Any,  # noqa: ANN401 - the arguments for other platforms, which bleak always passes
    ) -> None:
        """As bleak makes it; `radio` comes from `RadioBackend.kwargs`."""
        super().__init__(detection_callback, service_uuids)
        self._radio = radio
        self._active = scanning_mode == "active"

    async def start(self) -> None:
        """Begin to scan, with others that scan already."""
        self.seen_devices = {}
        await self._radio.listen(self._on_advertisement, active=self._active)

    async def stop(self) -> None:
        """Stop this scanner; others go on."""
        await self._radio.ignore(self._on_advertisement)

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        data = advertisement_data(advertisement)
        if not self.is_allowed_uuid(data.service_uuids):
            return
        address = advertisement.address.to_string(with_type_qualifier=False)
        known = self.seen_devices.get(address)
        name = data.local_name or (known[0].name if known else None)
        device = self.create_or_update_device(
            address, address, name, {"address": advertisement.address}, data
        )
        if len(self.seen_devices) > _DEVICES:
            del self.seen_devices[next(iter(self.seen_devices))]
        self.call_detection_callbacks(device, data)


def advertisement_data(advertisement: Advertisement) -> AdvertisementData:
    """Translate an advertisement.

    Source:
        Core Specification Supplement, Part A (formats of the data types).
    """
    name: str | None = None
    manufacturers: dict[int, bytes] = {}
    service_data: dict[str, bytes] = {}
    uuids: list[str] = []
    power: int | None = None
    for kind, data in _structures(advertisement.data):
        if kind == AdvertisingData.MANUFACTURER_SPECIFIC_DATA and len(data) >= 2:
            manufacturers[int.from_bytes(data[:2], "little")] = data[2:]
        elif (size := _DATA_SIZES.get(kind)) is not None:
            if len(data) >= size:
                service_data[full_uuid(data[:size])] = data[size:]
        elif (size := _SIZES.get(kind)) is not None:
            parts = (data[i : i + size] for i in range(0, len(data) - size + 1, size))
            uuids.extend(full_uuid(part) for part in parts)
        elif kind in _NAMES:
            name = data.decode(errors="replace")
        elif kind == AdvertisingData.TX_POWER_LEVEL and len(data) == 1:
            power = int.from_bytes(data, "little", signed=True)
    return AdvertisementData(
        local_name=name,
        manufacturer_data=manufacturers,
        service_data=service_data,
        service_uuids=uuids,
        tx_power=power,
        rssi=advertisement.rssi,
        platform_data=(advertisement,),
    )


def _structures(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each structure; what is cut short is left out.

    Source:
        Core Specification, Vol 3, Part C, 11.
    """
    place = 0
    while place + 1 < len(data) and data[place]:
        end = place + 1 + data[place]
        if end > len(data):
            return
        yield data[place + 1], data[place + 2 : end]
        place = end
