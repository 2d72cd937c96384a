"""The settings of one property: which advertised field or characteristic it is."""

import json
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mapper_sdk.devices.spelling import SpelledSettings, plain, to_integer, word_for
from mappers.ble.formats.packet import full_uuid
from mappers.ble.values.characteristics import BY_NAME, BY_UUID, Standard
from mappers.ble.values.kubeedge import Converter, read_data_write
from mappers.ble.values.payloads import Endianness, FieldType, Layout

__all__ = ["BleVisit", "Push", "Source", "WriteMode"]


class Source(StrEnum):
    """Where a property's value comes from."""

    FIELD = "field"
    PAYLOAD = "payload"
    CHARACTERISTIC = "characteristic"


class Push(StrEnum):
    """Whether a characteristic is notified or indicated, or polled."""

    AUTO = "auto"
    OFF = "off"


class WriteMode(StrEnum):
    """Whether the device confirms a write."""

    AUTO = "auto"
    WITH = "with"
    WITHOUT = "without"


_TYPES = {
    "boolean": FieldType.BOOL,
    "utf8": FieldType.STRING,
    "text": FieldType.STRING,
    "double": FieldType.FLOAT64,
    "medfloat16": FieldType.SFLOAT,
    "medfloat32": FieldType.FLOAT,
    "byte": FieldType.UINT8,
}
_DECLARED = {
    "boolean": FieldType.BOOL,
    "string": FieldType.STRING,
    "stream": FieldType.STRING,
    "bytes": FieldType.BYTES,
    "float": FieldType.FLOAT32,
    "double": FieldType.FLOAT64,
}
_NAMES = {
    "characteristicuuid": "characteristic",
    "uuid": "characteristic",
    "serviceuuid": "service",
    "datatype": "type",
    "byteorder": "endianness",
    "manufacturerdata": "manufacturer",
    "company": "manufacturer",
    "writetype": "response",
}
_CONVERTER = ("startIndex", "endIndex", "shiftLeft", "shiftRight", "orderOfOperations")


def _spell_uuid(given: object) -> object:
    """Give a UUID in full; names of standard characteristics become theirs."""
    if not isinstance(given, str):
        return given
    known = BY_NAME.get(given.strip().lower().replace("-", "_").replace(" ", "_"))
    try:
        return full_uuid(known.uuid if known else given)
    except ValueError as error:
        raise ValueError(
            f"{given!r} is neither a UUID nor the name of a standard characteristic"
        ) from error


def _spell_mode(given: object) -> object:
    """YAML reads on, off, yes and no as booleans."""
    return given if not isinstance(given, bool) else ("with" if given else "without")


def _spell_push(given: object) -> object:
    return given if not isinstance(given, bool) else ("auto" if given else "off")


def _read_json(given: object) -> object:
    """EdgeCore carries nothing nested: the same may be written as JSON text."""
    if isinstance(given, str) and given.lstrip()[:1] in "{[":
        try:
            return json.loads(given)
        except json.JSONDecodeError as error:
            raise ValueError(f"is no JSON: {error}") from error
    return given


Uuid = Annotated[str | None, BeforeValidator(_spell_uuid)]


class BleVisit(SpelledSettings):
    """Where a property lives and what it is. Keys may be written in any case.

    The validation context may carry `type`, the property's declared type in KubeEdge's words:
    it decides where no `type` is written.
    """

    other_names = _NAMES | {plain(name): name for name in _CONVERTER}

    field: str | None = Field(
        default=None,
        min_length=1,
        description="Name of an advertised value, as `temperature`; or of a part of a standard "
        "characteristic, as `rr_interval`. Always there: `rssi`, `name`, `address`, `tx_power`, "
        "`last_heard`; on a link: `mtu`.",
    )
    service_data: Uuid = Field(
        default=None, description="One's own format: the UUID of the service data it is in."
    )
    manufacturer: Annotated[int | None, BeforeValidator(to_integer)] = Field(
        default=None,
        ge=0,
        le=0xFFFF,
        description="One's own format: the company number of the manufacturer data it is in; "
        "`0x0499` is understood.",
    )
    prefix: str | None = Field(
        default=None,
        pattern=r"^([0-9A-Fa-f]{2})+$",
        description="One's own format: only data that begins with these hexadecimal digits.",
    )
    characteristic: Uuid = Field(
        default=None,
        description="UUID of 16, 32 or 128 bits, or name of a standard characteristic, as "
        "`battery_level`. KubeEdge: `characteristicUUID`.",
    )
    service: Uuid = Field(
        default=None,
        description="UUID of its service, where several have such a characteristic.",
    )
    descriptor: Uuid = Field(
        default=None, description="UUID of a descriptor of the characteristic, to read that."
    )
    type: Annotated[FieldType | None, BeforeValidator(word_for(FieldType, _TYPES))] = Field(
        default=None,
        description="What the bytes mean. Without it a standard characteristic is decoded as it "
        "is defined, and another one by the property's declared type; an `int` is one byte then. "
        "`sfloat` and `float` are those of the health profiles (IEEE 11073).",
    )
    offset: Annotated[int, BeforeValidator(to_integer)] = Field(
        default=0,
        ge=0,
        le=511,
        description="First byte. What is to be added to a value is `valueOffset`.",
        json_schema_extra={"unit": "bytes"},
    )
    length: int = Field(
        default=0,
        ge=0,
        le=512,
        description="Of text and bytes; 0 is all that follows.",
        json_schema_extra={"unit": "bytes"},
    )
    endianness: Annotated[Endianness, BeforeValidator(word_for(Endianness, {}))] = Field(
        default=Endianness.LITTLE,
        description="Which byte comes first. Also: `byteOrder`.",
    )
    bit: int | None = Field(
        default=None, ge=0, le=63, description="Lowest bit of a part of a whole number."
    )
    bits: int = Field(default=1, ge=1, le=64, description="How many bits that part has.")
    notify: Annotated[Push, BeforeValidator(word_for(Push, {})), BeforeValidator(_spell_push)] = (
        Field(
            default=Push.AUTO,
            description="`auto` has the device notify or indicate where it can; `off` polls.",
        )
    )
    response: Annotated[
        WriteMode, BeforeValidator(word_for(WriteMode, {})), BeforeValidator(_spell_mode)
    ] = Field(
        default=WriteMode.AUTO,
        description="Writes `with` or `without` a response; `auto` with one where the device "
        "offers it.",
    )
    freshness: float | None = Field(
        default=None,
        gt=0,
        description="As the device's, for this property alone.",
        json_schema_extra={"unit": "s"},
    )
    data_write: Annotated[dict[str, Any] | None, BeforeValidator(_read_json)] = Field(
        default=None,
        description="KubeEdge's words for values: name to bytes, as `{ON: [1], OFF: [0]}`; also "
        "hexadecimal (`0x01`) or base64 text.",
    )
    data_converter: Annotated[Converter | None, BeforeValidator(_read_json)] = Field(
        default=None,
        description="KubeEdge's way to make a number: `startIndex`, `endIndex`, `shiftLeft`, "
        "`shiftRight`, `orderOfOperations`. They may also stand flat beside the other settings.",
    )

    _words: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @classmethod
    def _arrange(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Take the parts of a converter, and KubeEdge's words, that stand beside their headings.

        They do so in KubeEdge's own sample, where they are indented too little.
        """
        flat = {name: given.pop(name) for name in _CONVERTER if name in given}
        if flat and given.get("dataConverter") is None:
            given["dataConverter"] = flat
        if "dataWrite" in given and given["dataWrite"] is None:
            known = {info.alias or name for name, info in cls.model_fields.items()}
            words = [name for name in given if name not in known and isinstance(given[name], list)]
            given["dataWrite"] = {name: given.pop(name) for name in words} or None
        return given

    @field_validator("data_write")
    @classmethod
    def _bytes(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        if given is not None:
            read_data_write(given)
        return given

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        own_format = [self.service_data, self.manufacturer]
        if sum(given is not None for given in (*own_format, self.characteristic)) > 1:
            raise ValueError("only one of serviceData, manufacturer and characteristic may be set")
        if self.source is Source.FIELD:
            if self.field is None:
                raise ValueError("set `field`, `characteristic`, `serviceData` or `manufacturer`")
            return self
        if self.data_write is not None:
            self._words.update(read_data_write(self.data_write))
        declared = (info.context or {}).get("type", "").lower()
        if self.data_converter is None and self.standard is None and self.type is None:
            self._choose(declared)
        self._check_bits()
        return self

    def _choose(self, declared: str) -> None:
        chosen = _DECLARED.get(declared)
        if self._words and declared in ("string", ""):
            chosen = FieldType.STRING
        elif declared == "int" and self.source is Source.CHARACTERISTIC:
            # As KubeEdge's own mapper reads what has no converter: the first byte.
            chosen = FieldType.UINT8
        if chosen is None:
            raise ValueError("say which `type` the bytes are, as `uint16`")
        # Before anybody has seen it: afterwards the model is frozen.
        object.__setattr__(self, "type", chosen)

    def _check_bits(self) -> None:
        if self.bit is None:
            return
        if self.type is None or not (self.type.is_whole or self.type is FieldType.BOOL):
            raise ValueError("`bit` needs a whole number as `type`")
        if self.bit + self.bits > self.type.size * 8:
            raise ValueError(f"{self.type} has no {self.bits} bits from bit {self.bit} on")

    @property
    def source(self) -> Source:
        """Where the value comes from."""
        if self.characteristic is not None:
            return Source.CHARACTERISTIC
        if self.service_data is not None or self.manufacturer is not None:
            return Source.PAYLOAD
        return Source.FIELD

    @property
    def standard(self) -> Standard | None:
        """The definition by which it is decoded, where no type is written."""
        if self.type is not None or self.characteristic is None or self.descriptor is not None:
            return None
        return BY_UUID.get(self.characteristic)

    @property
    def words(self) -> dict[str, bytes]:
        """KubeEdge's `dataWrite`: what is written by name."""
        return self._words

    @property
    def layout(self) -> Layout:
        """The field, for the codec."""
        return Layout(
            self.type or FieldType.BYTES,
            self.offset,
            self.length,
            self.endianness,
            self.bit,
            self.bits,
        )

    @property
    def prefix_bytes(self) -> bytes:
        """What the data must begin with."""
        return bytes.fromhex(self.prefix or "")
