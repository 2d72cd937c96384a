"""The settings of KubeEdge's own Bluetooth devices: `dataConverter` and `dataWrite`.

Source: kubeedge/kubeedge v1alpha2, `VisitorConfigBluetooth` and `BluetoothReadConverter`.
"""

import base64
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from dmi.errors import ConversionError

__all__ = ["Converter", "read_data_write"]


class _Settings(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


class _Word(StrEnum):
    ADD = "Add"
    SUBTRACT = "Subtract"
    MULTIPLY = "Multiply"
    DIVIDE = "Divide"


class _Operation(_Settings):
    """One step of arithmetic."""

    operation_type: _Word
    operation_value: float = Field(allow_inf_nan=False)

    @field_validator("operation_type", mode="before")
    @classmethod
    def _any_case(cls, given: object) -> object:
        return given.strip().capitalize() if isinstance(given, str) else given

    def apply(self, number: float) -> float:
        match self.operation_type:
            case _Word.ADD:
                return number + self.operation_value
            case _Word.SUBTRACT:
                return number - self.operation_value
            case _Word.MULTIPLY:
                return number * self.operation_value
            case _Word.DIVIDE:
                return number / self.operation_value


class Converter(_Settings):
    """Makes a number of the bytes from `startIndex` to `endIndex`, the first most significant.

    A start behind the end takes them backwards, which is the order of GATT.
    """

    start_index: int = Field(default=0, ge=0, le=511)
    end_index: int = Field(default=0, ge=0, le=511)
    shift_left: int = Field(default=0, ge=0, le=63)
    shift_right: int = Field(default=0, ge=0, le=63)
    order_of_operations: list[_Operation] = []

    @field_validator("order_of_operations")
    @classmethod
    def _no_division_by_zero(cls, given: list[_Operation]) -> list[_Operation]:
        if any(o.operation_type is _Word.DIVIDE and o.operation_value == 0 for o in given):
            raise ValueError("cannot divide by 0")
        return given

    def convert(self, data: bytes) -> float:
        """Give the number.

        Raises:
            ConversionError: The data has no such bytes.
        """
        low, high = sorted((self.start_index, self.end_index))
        raw = data[low : high + 1]
        if len(raw) < high - low + 1:
            raise ConversionError(f"there are no bytes {low} to {high} in {len(data)}")
        if self.start_index > self.end_index:
            raw = raw[::-1]
        number: float = int.from_bytes(raw, "big") << self.shift_left >> self.shift_right
        for operation in self.order_of_operations:
            number = operation.apply(number)
        return number


def read_data_write(given: Mapping[str, Any]) -> dict[str, bytes]:
    """Read the bytes of each word: a list of numbers, `0x` and hexadecimal, or base64.

    Raises:
        ValueError: They are none of these.
    """
    found = {}
    for word, written in given.items():
        if isinstance(written, str):
            is_hexadecimal = written[:2].lower() == "0x"
            found[word] = (
                bytes.fromhex(written[2:])
                if is_hexadecimal
                else base64.b64decode(written, validate=True)
            )
        elif isinstance(written, list) and all(isinstance(byte, (int, float)) for byte in written):
            # EdgeCore turns every number into a float.
            found[word] = bytes(int(byte) for byte in written)
        else:
            raise ValueError(f"{word} must be a list of bytes or text, not {written!r}")
    return found
