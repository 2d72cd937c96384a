"""The settings of Modbus devices and of their properties, ours and KubeEdge's.

`python -m mappers.modbus.config docs/modbus.md` writes their tables into the manual.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from mapper_sdk.devices.spelling import SpelledSettings, to_integer, word_for
from mapper_sdk.settings_docs import render
from mappers.modbus.visit import ByteOrder, ByteOrderWord, ModbusVisit, Register, ValueType

__all__ = [
    "ByteOrder",
    "ModbusLink",
    "ModbusVisit",
    "Parity",
    "Register",
    "Transport",
    "ValueType",
    "render_tables",
]


class Transport(StrEnum):
    """What carries the requests, and in which frames."""

    TCP = "tcp"
    TLS = "tls"
    UDP = "udp"
    RTU_OVER_TCP = "rtu-over-tcp"
    RTU = "rtu"
    ASCII = "ascii"

    @property
    def is_serial(self) -> bool:
        """Whether it is a serial line of this machine."""
        return self in {Transport.RTU, Transport.ASCII}

    @property
    def numbers_requests(self) -> bool:
        """Whether an answer names the request that it belongs to (MBAP transaction id)."""
        return self in {Transport.TCP, Transport.TLS, Transport.UDP}


class Parity(StrEnum):
    """Parity bit of a serial character."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


_TRANSPORTS = {"com": Transport.RTU, "serial": Transport.RTU, "modbustcp": Transport.TCP}
_PARITIES = {"n": Parity.NONE, "e": Parity.EVEN, "o": Parity.ODD, "no": Parity.NONE}

_NAMES = {
    "ip": "host",
    "address": "host",
    "commtype": "transport",
    "communicatemode": "transport",
    "mode": "transport",
    "slaveid": "unit",
    "unitid": "unit",
    "deviceid": "unit",
    "serialname": "serialPort",
}
_IGNORED = frozenset(
    # Settings of KubeEdge's v1alpha2 samples whose part here is played by the session.
    {
        "collecttimeout",
        "collectretrytimes",
        "collecttype",
        "reconntimeout",
        "reconnretrytimes",
        "serialtype",
    }
)

Seconds = Annotated[float, Field(ge=0, le=60, json_schema_extra={"unit": "s"})]
_REGISTERS: dict[str, JsonValue] = {"unit": "registers"}
_BITS: dict[str, JsonValue] = {"unit": "bits"}


class ModbusLink(SpelledSettings):
    """How one unit is reached, and what it bears. Keys may be written in any case."""

    other_names = _NAMES
    ignored_names = _IGNORED

    transport: Annotated[Transport | None, BeforeValidator(word_for(Transport, _TRANSPORTS))] = (
        Field(
            default=None,
            description="What carries the requests. Without it: `rtu` where `serialPort` is set, "
            "else `tcp`. KubeEdge: `commType`.",
        )
    )
    host: str | None = Field(
        default=None, min_length=1, description="Name or address of the device. KubeEdge: `ip`."
    )
    port: Annotated[int | None, BeforeValidator(to_integer)] = Field(
        default=None, ge=1, le=65535, description="TCP or UDP port: 502, with TLS 802."
    )
    unit: Annotated[int, BeforeValidator(to_integer)] = Field(
        default=1,
        ge=0,
        le=255,
        description="Unit identifier behind the endpoint; 1 to 247 on a serial line. "
        "KubeEdge: `slaveID`.",
    )
    serial_port: str | None = Field(
        default=None, min_length=1, description="Device file of the serial line, as `/dev/ttyUSB0`."
    )
    baud_rate: int = Field(
        default=19200,
        ge=50,
        le=4_000_000,
        description="Speed.",
        json_schema_extra={"unit": "bit/s"},
    )
    data_bits: int = Field(
        default=8,
        ge=7,
        le=8,
        description="Bits of a character; RTU needs 8.",
        json_schema_extra=_BITS,
    )
    parity: Annotated[Parity, BeforeValidator(word_for(Parity, _PARITIES))] = Field(
        default=Parity.EVEN, description="Parity bit of a character."
    )
    stop_bits: int = Field(
        default=1, ge=1, le=2, description="Stop bits of a character.", json_schema_extra=_BITS
    )
    local_echo: bool = Field(
        default=False, description="The adapter hears what it sends itself (some RS-485 ones)."
    )
    ca_file: str | None = Field(
        default=None,
        description="TLS: PEM file of the authorities to trust; the system's own without it.",
    )
    cert_file: str | None = Field(
        default=None, description="TLS: PEM file of the certificate to show to the device."
    )
    key_file: str | None = Field(
        default=None, description="TLS: PEM file of its key, if it is not in `certFile`."
    )
    server_name: str | None = Field(
        default=None, description="TLS: name that the device's certificate bears, if not `host`."
    )
    verify: bool = Field(
        default=True, description="TLS: check the device's certificate. Leave it on."
    )
    timeout: Seconds = Field(
        default=1.0,
        gt=0,
        description="How long to wait for an answer; on a serial line plus the time that the "
        "characters take.",
    )
    connect_timeout: Seconds = Field(
        default=3.0, gt=0, description="How long opening the connection may take."
    )
    retries: int = Field(
        default=1,
        ge=0,
        le=10,
        description="How often a read that got no answer is repeated at once. A unit that has "
        "not answered since it was connected is asked once only.",
    )
    pause_after_connect: Seconds = Field(
        default=0.0, description="Silence after the connection was opened."
    )
    pause_between_requests: Seconds = Field(
        default=0.0,
        description="Silence between an answer and the next request. On RTU at least the "
        "3.5 characters of the specification.",
    )
    late_response_wait: Seconds = Field(
        default=1.0,
        description="After a timeout: how long nothing more is asked of this unit unless its "
        "late answer comes and is thrown away. Only where answers carry no transaction number "
        "(RTU, RTU over TCP, ASCII).",
    )
    max_read_registers: int = Field(
        default=125,
        ge=1,
        le=125,
        description="Most that one read asks for.",
        json_schema_extra=_REGISTERS,
    )
    max_read_coils: int = Field(
        default=2000,
        ge=1,
        le=2000,
        description="Most that one read asks for.",
        json_schema_extra=_BITS,
    )
    max_write_registers: int = Field(
        default=123,
        ge=1,
        le=123,
        description="Most that one write may set.",
        json_schema_extra=_REGISTERS,
    )
    max_write_coils: int = Field(
        default=1968,
        ge=1,
        le=1968,
        description="Most that one write may set.",
        json_schema_extra=_BITS,
    )
    max_gap: int = Field(
        default=16,
        ge=0,
        le=125,
        description="Registers that nobody asked for and that are read all the same to save a "
        "request.",
        json_schema_extra=_REGISTERS,
    )
    max_gap_coils: int = Field(
        default=256,
        ge=0,
        le=2000,
        description="The same for coils and discrete inputs.",
        json_schema_extra=_BITS,
    )
    refused_again_after: float = Field(
        default=600.0,
        ge=1,
        description="Addresses that the device refused are asked for again after this time.",
        json_schema_extra={"unit": "s"},
    )
    byte_order: ByteOrderWord | None = Field(
        default=None,
        description="Order of 32 and 64 bit numbers for all properties that do not say their "
        "own; `ABCD` without it.",
    )
    write_multiple: bool = Field(
        default=False,
        description="Write single values with functions 15 and 16 too (5 and 6 without it).",
    )
    mask_write: bool = Field(
        default=True,
        description="Write single bits of a register with function 22. Without it, or where "
        "the device refuses it: read, change, write back.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.carrier.is_serial:
            if self.serial_port is None:
                raise ValueError(f"transport {self.carrier} needs `serialPort`")
            if not 1 <= self.unit <= 247:
                raise ValueError(f"unit must be 1 to 247 on a serial line, not {self.unit}")
            if self.carrier is Transport.RTU and self.data_bits != 8:
                raise ValueError("dataBits must be 8 for RTU; ASCII may have 7")
        elif self.host is None:
            raise ValueError("set `host` (KubeEdge: `ip`), or `serialPort` for a serial line")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("keyFile means nothing without certFile")
        return self

    @property
    def carrier(self) -> Transport:
        """The transport, chosen by the other settings where it is not written."""
        if self.transport is not None:
            return self.transport
        return Transport.TCP if self.serial_port is None else Transport.RTU

    @property
    def tcp_port(self) -> int:
        """Port of TCP, TLS and UDP. Source: registered at IANA as mbap and mbap-s."""
        return self.port or (802 if self.carrier is Transport.TLS else 502)

    @property
    def endpoint(self) -> str:
        """The medium that units share: one serial line, or one port of one host."""
        if self.carrier.is_serial:
            return f"serial:{self.serial_port}"
        host = f"[{self.host}]" if ":" in str(self.host) else self.host
        return f"{self.carrier}://{host}:{self.tcp_port}"


def render_tables(document: str) -> str:
    """Put the tables of settings into docs/modbus.md."""
    return render(document, {"device": ModbusLink, "property": ModbusVisit})


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(render_tables(page.read_text()))
