"""The air of a virtual radio: who is in reach of whom, and controllers that behave in it.

Bumble's virtual controller is meant for two well-behaved hosts. The subclass here ends
cancelled connects, sends the completion event that the host asked for, reports each packet
once and as what it was, and forgets its links on reset.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.core import PhysicalTransport
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import TransportSink, TransportSource

__all__ = ["Air", "AirController", "Voice", "air_named"]

_log = logging.getLogger(__name__)

_EXTENDED = hci.HCI_LE_Extended_Advertising_Report_Event
_LEGACY = _EXTENDED.EventType.LEGACY_ADVERTISING_PDU_USED
_SCANNABLE = _EXTENDED.EventType.SCANNABLE_ADVERTISING
_CONNECTABLE = _EXTENDED.EventType.CONNECTABLE_ADVERTISING
_RESPONSE = _EXTENDED.EventType.SCAN_RESPONSE
_ENHANCED_CONNECTION_COMPLETE = 1 << 9
"""Bit of the LE event mask; Core Specification, Vol 4, Part E, 7.8.1."""
_TIMED_OUT = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
_NO_POWER = hci.HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR

_airs: "WeakValueDictionary[str, Air]" = WeakValueDictionary()


def air_named(name: str) -> "Air | None":
    """The air of that name in this process, or None if nobody made one."""
    return _airs.get(name)


@dataclass(slots=True)
class Voice:
    """How an advertiser sounds to others.

    Attributes:
        rssi: Strength at every receiver, dBm.
        connectable: It takes connections and answers scan requests.
        scan_response: What it answers to an active scan.
        in_reach: Others hear it and it hears them.
        mute: It is heard and connects, but then says nothing.
    """

    rssi: int = -50
    connectable: bool = True
    scan_response: bytes = b""
    in_reach: bool = True
    mute: bool = False


class Air(LocalLink):
    """The medium between the controllers of one simulation.

    Attributes:
        voices: By address; who is not in it sounds like a plain `Voice`.
        supervision_seconds: How long a link lives after its peripheral went out of reach.
    """

    controllers: "set[Controller]"

    def __init__(self, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name = name
        self.voices: dict[hci.Address, Voice] = {}
        self.supervision_seconds = 0.5
        self._owners: dict[hci.Address, Controller] = {}
        _airs[name] = self

    def voice(self, address: hci.Address) -> Voice:
        """How the advertiser with this address sounds."""
        return self.voices.setdefault(address, Voice())

    def move(self, address: hci.Address, *, in_reach: bool) -> None:
        """Take a peripheral out of everybody's reach, or back into it.

        Its links end when the supervision time has passed without it coming back.
        """
        self.voice(address).in_reach = in_reach
        if not in_reach:
            asyncio.get_running_loop().call_later(
                self.supervision_seconds, self._end_silent_links, address
            )

    def broadcast(self, address: hci.Address, data: bytes) -> bool:
        """Let an advertiser that is no controller of its own be heard once, if in reach."""
        if not self.voice(address).in_reach:
            return False
        packet = ll.AdvNonConnInd(advertiser_address=address, data=data)
        for controller in self.controllers:
            if controller.le_scan_enable:
                controller.on_ll_advertising_pdu(packet)
        return True

    def drop(self, address: hci.Address, reason: int = _NO_POWER) -> None:
        """End all links of a peripheral at once, on both sides."""
        for controller, connection in list(self._links_of(address)):
            controller.on_le_disconnected(connection, reason)

    def _end_silent_links(self, address: hci.Address) -> None:
        if not self.voice(address).in_reach:
            self.drop(address, _TIMED_OUT)

    def _links_of(self, address: hci.Address) -> Iterable[tuple[Controller, Connection]]:
        for controller in self.controllers:
            for connection in controller.le_connections.values():
                if address in (connection.self_address, connection.peer_address):
                    yield controller, connection

    def find_le_controller(self, address: hci.Address) -> Controller | None:
        """Whose address this is; remembered, for it is asked with every packet."""
        owner = self._owners.get(address)
        if owner is not None and owner in self.controllers and owner.random_address == address:
            return owner
        owner = super().find_le_controller(address)
        if owner is not None:
            self._owners[address] = owner
        return owner

    def remove_controller(self, controller: Controller) -> None:
        """Forget a controller; links to it end as if it had lost power."""
        own = list(controller.le_connections.values())
        controller.le_connections.clear()
        self.controllers.discard(controller)
        for connection in own:
            self.drop(connection.self_address)
        self._owners = {a: c for a, c in self._owners.items() if c is not controller}

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        """Carry data between the two ends of a link, whatever kind of address they use."""
        link = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if link is None or receiver is None:
            return
        sender, other = self.voice(link.self_address), self.voice(destination_address)
        if sender.mute or not (sender.in_reach and other.in_reach):
            return
        asyncio.get_running_loop().call_soon(
            receiver.on_link_acl_data, link.self_address, transport, data
        )

    def send_advertising_pdu(
        self, sender_controller: Controller, packet: ll.AdvertisingPdu
    ) -> None:
        """Let everybody in reach hear an advertisement or a request to connect."""
        addresses = [getattr(packet, "advertiser_address", None)]
        if all(a is None or self.voice(a).in_reach for a in addresses):
            super().send_advertising_pdu(sender_controller, packet)

    def send_ll_control_pdu(
        self,
        sender_address: hci.Address,
        receiver_address: hci.Address,
        packet: ll.ControlPdu,
    ) -> None:
        """Carry control data; who has gone in the meantime does not hear it."""
        if self.find_le_controller(receiver_address) is not None:
            super().send_ll_control_pdu(sender_address, receiver_address, packet)


class AirController(Controller):
    """A virtual controller that does what a host may expect of a real one."""

    def __init__(
        self,
        name: str,
        air: Air,
        source: TransportSource | None = None,
        sink: TransportSink | None = None,
    ) -> None:
        super().__init__(name, host_source=source, host_sink=sink, link=air)
        self.air = air
        self._active = False

    def leave(self) -> None:
        """Be gone: links end, nobody hears it any more, and its host learns it."""
        self._be_silent()
        self.air.remove_controller(self)
        if not self.terminated.done():
            self.terminated.set_result(None)
        if isinstance(self.hci_sink, Host):
            try:
                self.hci_sink.on_transport_lost()  # type: ignore[no-untyped-call]  # theirs
            except asyncio.InvalidStateError:
                # The answer to its latest command came in this very moment.
                self.hci_sink.emit("flush")

    def _be_silent(self) -> None:
        for advertising in self.advertising_sets.values():
            advertising.stop()
        self.le_legacy_advertiser.stop()

    def send_advertising_pdu(self, packet: ll.AdvertisingPdu) -> None:
        """Be heard, unless its host goes on without knowing that it has left."""
        if self in self.air.controllers:
            super().send_advertising_pdu(packet)
        else:
            self._be_silent()

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """Tell the host, by the enhanced completion event if it wants that one."""
        if (
            isinstance(packet, hci.HCI_LE_Connection_Complete_Event)
            and self.le_event_mask & _ENHANCED_CONNECTION_COMPLETE
        ):
            packet = _enhanced(packet)
        super().send_hci_packet(packet)

    def on_le_disconnected(self, connection: Connection, reason: int) -> None:
        """A link ended; both ends may notice, in either order."""
        if self.le_connections.get(connection.peer_address) is connection:
            super().on_le_disconnected(connection, reason)

    def on_hci_reset_command(
        self, _command: hci.HCI_Reset_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Start from nothing, without links."""
        for connection in list(self.le_connections.values()):
            connection.send_ll_control_pdu(ll.TerminateInd(_NO_POWER))
        self.le_connections.clear()
        self.pending_le_connection = None
        self.le_scan_enable = False
        return super().on_hci_reset_command(_command)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """End the pending attempt; Core Specification, Vol 4, Part E, 7.8.13."""
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        event = hci.HCI_LE_Connection_Complete_Event(
            status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=hci.Role.CENTRAL,
            peer_address_type=pending.peer_address_type,
            peer_address=pending.peer_address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        asyncio.get_running_loop().call_soon(self.send_hci_packet, event)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_set_scan_parameters_command(
        self, command: hci.HCI_LE_Set_Scan_Parameters_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Note whether the scan is active."""
        self._active = bool(command.le_scan_type)
        return super().on_hci_le_set_scan_parameters_command(command)

    def on_hci_le_set_extended_scan_parameters_command(
        self, command: hci.HCI_LE_Set_Extended_Scan_Parameters_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Note whether the scan is active."""
        self._active = any(command.scan_types)
        return super().on_hci_le_set_extended_scan_parameters_command(command)

    def on_ll_advertising_pdu(self, packet: ll.AdvertisingPdu) -> None:
        """Hear an advertisement, those that take no connection too."""
        if isinstance(packet, ll.AdvNonConnInd):
            self._report(packet.advertiser_address, packet.data, connectable=False)
        else:
            super().on_ll_advertising_pdu(packet)

    def on_advertising_pdu(self, pdu: ll.AdvInd | ll.AdvExtInd) -> None:
        """Report it to a scanning host, and connect if that is what the host waits for."""
        voice = self.air.voice(pdu.advertiser_address)
        self._report(pdu.advertiser_address, pdu.data, connectable=voice.connectable)
        pending = self.pending_le_connection
        if pending and voice.connectable and pending.peer_address == pdu.advertiser_address:
            self.create_le_connection(pdu.advertiser_address)

    def _report(self, address: hci.Address, data: bytes, *, connectable: bool) -> None:
        if not self.le_scan_enable:
            return
        kind = _LEGACY | (_CONNECTABLE | _SCANNABLE if connectable else 0)
        self._report_one(kind, address, data)
        if connectable and self._active:
            answer = self.air.voice(address).scan_response
            self._report_one(kind | _RESPONSE, address, answer)

    def _report_one(self, kind: int, address: hci.Address, data: bytes) -> None:
        report = _EXTENDED.Report(
            event_type=kind,
            address_type=address.address_type,
            address=address,
            primary_phy=hci.Phy.LE_1M,
            secondary_phy=0,
            advertising_sid=0xFF,
            tx_power=_EXTENDED.TX_POWER_INFORMATION_NOT_AVAILABLE,
            rssi=self.air.voice(address).rssi,
            periodic_advertising_interval=0,
            direct_address_type=0,
            direct_address=hci.Address.ANY,
            data=data,
        )
        self.send_hci_packet(_EXTENDED([report]))


def _enhanced(
    event: hci.HCI_LE_Connection_Complete_Event,
) -> hci.HCI_LE_Enhanced_Connection_Complete_Event:
    return hci.HCI_LE_Enhanced_Connection_Complete_Event(
        status=event.status,
        connection_handle=event.connection_handle,
        role=event.role,
        peer_address_type=event.peer_address_type,
        peer_address=event.peer_address,
        local_resolvable_private_address=hci.Address.ANY,
        peer_resolvable_private_address=hci.Address.ANY,
        connection_interval=event.connection_interval,
        peripheral_latency=event.peripheral_latency,
        supervision_timeout=event.supervision_timeout,
        central_clock_accuracy=event.central_clock_accuracy,
    )
