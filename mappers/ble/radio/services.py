"""What a GATT server has, in bleak's words."""

from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bumble.device import Connection, Peer

from mappers.ble.radio.uuids import full_uuid

__all__ = ["discovered"]


async def discovered(peer: Peer, connection: Connection) -> BleakGATTServiceCollection:
    """Discover all services, characteristics and descriptors of a peer.

    A characteristic's handle is that of its declaration, which lies just before its value,
    so that a handle means the same as with BlueZ.

    Source:
        Core Specification, Vol 3, Part G, 3.3 (order of declaration and value).
    """
    collection = BleakGATTServiceCollection()

    def longest_command() -> int:
        return int(connection.att_mtu) - 3

    for service in await peer.discover_services():
        ours = BleakGATTService(service, service.handle, full_uuid(bytes(service.uuid.uuid_bytes)))
        collection.add_service(ours)
        for proxy in await peer.discover_characteristics(service=service):
            characteristic = BleakGATTCharacteristic(
                proxy,
                proxy.handle - 1,
                full_uuid(bytes(proxy.uuid.uuid_bytes)),
                list(gatt_char_props_to_strs(int(proxy.properties))),
                longest_command,
                ours,
            )
            collection.add_characteristic(characteristic)
            for descriptor in await peer.discover_descriptors(proxy):
                collection.add_descriptor(
                    BleakGATTDescriptor(
                        descriptor,
                        descriptor.handle,
                        full_uuid(bytes(descriptor.type.uuid_bytes)),
                        characteristic,
                    )
                )
    return collection
