"""The settings of one property: which registers it is made of, and how they are read."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from mapper_sdk.devices.spelling import SpelledSettings, to_integer, word_for

__all__ = ["ByteOrder", "ByteOrderWord", "ModbusVisit", "Register", "ValueType", "width_of"]

MAX_REGISTERS = 125
MAX_BITS = 2000
"""Most that one read may ask for: MODBUS Application Protocol V1.1b3, sections 6.1 and 6.3."""


class Register(StrEnum):
    """The four tables of a Modbus device, by KubeEdge's names."""

    COIL = "CoilRegister"
    DISCRETE_INPUT = "DiscreteInputRegister"
    INPUT = "InputRegister"
    HOLDING = "HoldingRegister"

    @property
    def is_bit(self) -> bool:
        """Whether an address holds one bit, not 16."""
        return self in {Register.COIL, Register.DISCRETE_INPUT}

    @property
    def is_writable(self) -> bool:
        """Whether the protocol has a function that writes it."""
        return self in {Register.COIL, Register.HOLDING}


class ValueType(StrEnum):
    """What registers mean."""

    BOOL = "bool"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BYTES = "bytes"
    INT = "int"
    FLOAT = "float"
    DOUBLE = "double"


class ByteOrder(StrEnum):
    """Order in which a 32-bit number ABCD (A most significant) travels; 64 bits alike."""

    ABCD = "ABCD"
    BADC = "BADC"
    CDAB = "CDAB"
    DCBA = "DCBA"

    @property
    def swaps_bytes(self) -> bool:
        """Whether the bytes inside a register change places. KubeEdge: `isSwap`."""
        return self in {ByteOrder.BADC, ByteOrder.DCBA}

    @property
    def swaps_registers(self) -> bool:
        """Whether the low register comes first. KubeEdge: `isRegisterSwap`."""
        return self in {ByteOrder.CDAB, ByteOrder.DCBA}

    @classmethod
    def of(cls, swap_bytes: bool, swap_registers: bool) -> "ByteOrder":
        """The order that KubeEdge's two settings describe."""
        if swap_registers:
            return cls.DCBA if swap_bytes else cls.CDAB
        return cls.BADC if swap_bytes else cls.ABCD


_ORDERS = {
    "abcdefgh": ByteOrder.ABCD,
    "badcfehg": ByteOrder.BADC,
    "ghefcdab": ByteOrder.CDAB,
    "hgfedcba": ByteOrder.DCBA,
    "ab": ByteOrder.ABCD,
    "ba": ByteOrder.BADC,
    "big": ByteOrder.ABCD,
    "little": ByteOrder.DCBA,
}
ByteOrderWord = Annotated[ByteOrder, BeforeValidator(word_for(ByteOrder, _ORDERS))]

_REGISTERS = {
    "coil": Register.COIL,
    "coils": Register.COIL,
    "discrete": Register.DISCRETE_INPUT,
    "discreteinput": Register.DISCRETE_INPUT,
    "discreteinputs": Register.DISCRETE_INPUT,
    "input": Register.INPUT,
    "inputregisters": Register.INPUT,
    "holding": Register.HOLDING,
    "holdingregisters": Register.HOLDING,
}
_TYPES = {"boolean": ValueType.BOOL, "short": ValueType.INT16, "word": ValueType.UINT16}
_REFERENCE = {
    "0": Register.COIL,
    "1": Register.DISCRETE_INPUT,
    "3": Register.INPUT,
    "4": Register.HOLDING,
}
_NAMES = {"address": "offset", "datatype": "type", "registertype": "register"}

_WIDTHS = {
    ValueType.BOOL: 1,
    ValueType.INT16: 1,
    ValueType.UINT16: 1,
    ValueType.INT32: 2,
    ValueType.UINT32: 2,
    ValueType.FLOAT32: 2,
    ValueType.INT64: 4,
    ValueType.UINT64: 4,
    ValueType.FLOAT64: 4,
}
_GENERIC = {
    ValueType.INT: {1: ValueType.UINT16, 2: ValueType.UINT32, 4: ValueType.UINT64},
    ValueType.FLOAT: {1: ValueType.UINT16, 2: ValueType.FLOAT32, 4: ValueType.FLOAT64},
}
_GENERIC[ValueType.DOUBLE] = _GENERIC[ValueType.FLOAT]


def width_of(value_type: ValueType) -> int:
    """Registers that one value takes; 0 for text and bytes, which take what they are given."""
    return _WIDTHS.get(value_type, 0)


def _digits_to_text(given: object) -> object:
    return str(given) if type(given) is int else given


class ModbusVisit(SpelledSettings):
    """Where a property lives and what it is. Keys may be written in any case.

    After validation `register`, `offset`, `limit`, `type` and `count` are all set and agree.
    The validation context may carry `type`, the property's declared type in KubeEdge's words:
    it decides where no `type` is written, as in KubeEdge's own mapper.
    """

    model_config = ConfigDict(frozen=False)
    other_names = _NAMES

    register_: Annotated[Register, BeforeValidator(word_for(Register, _REGISTERS))] = Field(
        default=Register.HOLDING,
        alias="register",
        description="The table: `HoldingRegister`, `InputRegister`, `CoilRegister` or "
        "`DiscreteInputRegister`; short: `holding`, `input`, `coil`, `discrete`.",
    )
    offset: Annotated[int, BeforeValidator(to_integer)] = Field(
        default=0,
        ge=0,
        le=0xFFFF,
        description="Address of the first register or bit, counted from 0 as on the wire; "
        "`0x10` is understood. Also: `address`.",
    )
    reference: Annotated[str | None, BeforeValidator(_digits_to_text)] = Field(
        default=None,
        pattern=r"^[0134]\d{4,5}$",
        description="Instead of `register` and `offset`: table and address as manuals print "
        "them, counted from 1, with five or six digits (`40001`, `400001`).",
    )
    limit: Annotated[int, BeforeValidator(to_integer)] = Field(
        default=0,
        ge=0,
        le=MAX_BITS,
        description="How many registers or bits. 0: as many as `type` and `count` need.",
    )
    type: Annotated[ValueType | None, BeforeValidator(word_for(ValueType, _TYPES))] = Field(
        default=None,
        description="What the registers hold: `int16`, `uint16`, `int32`, `uint32`, `int64`, "
        "`uint64`, `float32`, `float64`, `bool`, `string`, `bytes`. Without it the property's "
        "declared type and `limit` decide. Also: `dataType`.",
    )
    count: Annotated[int, BeforeValidator(to_integer)] = Field(
        default=0,
        ge=0,
        le=MAX_BITS,
        description="How many values. More than one make an array: JSON text of a STRING "
        "property. 0: as many as `limit` holds.",
    )
    bit: Annotated[int | None, BeforeValidator(to_integer)] = Field(
        default=None,
        ge=0,
        le=15,
        description="One bit of a register as a boolean; 0 is the least significant.",
    )
    byte_order: ByteOrderWord | None = Field(
        default=None,
        description="`ABCD` (most significant byte first), `DCBA`, `BADC`, `CDAB`; for 64 bits "
        "also with eight letters. Without it the device's `byteOrder` holds for 32 and 64 bit "
        "numbers.",
    )
    is_swap: bool = Field(
        default=False, description="KubeEdge's word: the bytes inside each register are swapped."
    )
    is_register_swap: bool = Field(
        default=False, description="KubeEdge's word: the registers come in reverse order."
    )
    encoding: str = Field(
        default="utf-8",
        pattern=r"(?i)^(utf-?8|ascii|us-ascii|latin-?1|iso-?8859-?1|cp1252|utf-16-[bl]e)$",
        description="Character set of a `string`.",
    )

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Self:
        context = info.context if isinstance(info.context, dict) else {}
        declared = str(context.get("type", "")).lower()
        if self.reference is not None:
            self._follow_reference(self.reference)
        if (
            self.order_is_given
            and self.byte_order is not None
            and self.byte_order is not self.order
        ):
            raise ValueError("byteOrder contradicts isSwap and isRegisterSwap; keep one way")
        if self.register_.is_bit:
            self._complete_bits(declared)
        else:
            self._complete_registers(declared)
        most = MAX_BITS if self.register_.is_bit else MAX_REGISTERS
        if self.limit > most:
            raise ValueError(f"{self.limit} at once are too many: one request reads {most}")
        if self.offset + self.limit > 0x10000:
            raise ValueError(f"{self.limit} from offset {self.offset} go beyond address 65535")
        return self

    @property
    def is_array(self) -> bool:
        """Whether the value is a list, as JSON text."""
        return self.count > 1

    @property
    def order_is_given(self) -> bool:
        """Whether KubeEdge's words ask for another order than the usual."""
        return self.is_swap or self.is_register_swap

    @property
    def order(self) -> ByteOrder | None:
        """The order that this property itself asks for."""
        if self.order_is_given:
            return ByteOrder.of(self.is_swap, self.is_register_swap)
        return self.byte_order

    def _follow_reference(self, reference: str) -> None:
        if {"register_", "offset"} & self.model_fields_set:
            raise ValueError("reference says register and offset already; keep one way")
        number = int(reference[1:])
        if not 1 <= number <= 0x10000:
            raise ValueError(f"reference {reference} counts from 1 to 65536 after its first digit")
        self.register_, self.offset = _REFERENCE[reference[0]], number - 1

    def _complete_bits(self, declared: str) -> None:
        if self.bit is not None:
            raise ValueError("bit means a bit of a register; coils and inputs are bits themselves")
        wanted = self.type or (ValueType.INT if declared in _GENERIC else ValueType.BOOL)
        if wanted in _GENERIC:
            wanted = ValueType.UINT16
        if wanted not in {ValueType.BOOL, ValueType.UINT16}:
            raise ValueError(f"a {self.register_} holds no {wanted}; use bool, or int for 0 and 1")
        self._agree(wanted, 1)

    def _complete_registers(self, declared: str) -> None:
        if self.bit is not None:
            if self.type not in {None, ValueType.BOOL}:
                raise ValueError(f"a single bit is a bool, not {self.type}")
            self._agree(ValueType.BOOL, 1)
            if self.limit != 1:
                raise ValueError("bit is one bit of one register; leave limit and count out")
            return
        wanted = self._wanted(declared)
        if wanted in {ValueType.STRING, ValueType.BYTES}:
            if self.count > 1:
                raise ValueError(f"{wanted} has no count; limit says how many registers")
            self.type, self.limit, self.count = wanted, self.limit or 1, 1
            return
        self._agree(wanted, width_of(wanted))

    def _wanted(self, declared: str) -> ValueType:
        """What to make of the registers: as written, else as declared, else by number."""
        word = self.type
        if word is None and self.count > 1:
            return ValueType.UINT16
        if word is None and declared == "boolean":
            word = ValueType.BOOL
        elif word is None and declared in set(ValueType):
            word = ValueType(declared)
        word = word or ValueType.INT
        if word not in _GENERIC:
            return word
        registers = self.limit // self.count if self.limit and self.count else self.limit or 1
        if registers not in _GENERIC[word]:
            raise ValueError(f"{registers} registers are no {word}; say which `type` they hold")
        return _GENERIC[word][registers]

    def _agree(self, wanted: ValueType, width: int) -> None:
        """Set type, count and limit, of which the last two may be given or not."""
        unit = "bits" if self.register_.is_bit else "registers"
        if self.limit % width:
            raise ValueError(f"limit {self.limit} does not hold whole {wanted}s of {width} {unit}")
        count = self.count or self.limit // width or 1
        if self.limit and self.limit != count * width:
            raise ValueError(f"{count} {wanted} take {count * width} {unit}; limit is {self.limit}")
        self.type, self.count, self.limit = wanted, count, count * width
