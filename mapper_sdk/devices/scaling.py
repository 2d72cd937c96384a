"""The visitor settings common to all protocols, and the arithmetic behind them.

They lie flat in a property's `visitors.configData`, beside the driver's own. EdgeCore
sends every number there as a 32-bit float and people write numbers as text; both are
understood. `python -m mapper_sdk.devices.scaling` writes the table in docs/common-settings.md.
"""

import math
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

import orjson
from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from dmi.errors import ConversionError
from dmi.floats import FLOAT32_LIMIT, narrow, round_float32
from dmi.readings import Quality, Reading, Value
from dmi.resources import DataType
from dmi.values import coercer

__all__ = [
    "DEFAULTS",
    "NUMERIC",
    "Common",
    "Convert",
    "Scaling",
    "converter",
    "settings_table",
    "split_settings",
]

NUMERIC = frozenset({DataType.INT, DataType.FLOAT, DataType.DOUBLE})

Convert = Callable[[Any, float], Reading]
"""Makes a reading of what a driver gave and when; raises ConversionError."""

_LARGEST_DENOMINATOR = 10**12
_FLOAT32_EPSILON = 2.0**-23


def _tidy(given: object) -> object:
    """Undo EdgeCore's narrowing: 0.10000000149011612 was 0.1 in somebody's file."""
    if type(given) is float and not given.is_integer() and abs(given) < FLOAT32_LIMIT:
        return round_float32(given) if narrow(given) == given else given
    return given.strip() if isinstance(given, str) else given


Number = Annotated[float, BeforeValidator(_tidy), Field(allow_inf_nan=False)]


class Common(BaseModel):
    """Settings that every protocol's properties may have."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    scale: Number = Field(
        default=1.0,
        description="Factor from the device's number to the property's. Not 0.",
    )
    value_offset: Number = Field(
        default=0.0,
        validation_alias=AliasChoices("valueOffset", "value_offset", "offset"),
        description="Added after scaling. `offset` means the same, except where the "
        "protocol has an `offset` of its own.",
    )
    decimals: int | None = Field(
        default=None, ge=0, le=15, description="Readings are rounded to so many decimal places."
    )
    deadband: Number = Field(
        default=0.0,
        ge=0,
        description="Report only changes greater than this, in the property's unit. "
        "Implies `onChange`.",
    )
    on_change: bool = Field(default=False, description="Report only when the value has changed.")
    max_silence: int = Field(
        default=60_000,
        ge=0,
        description="With `onChange` or `deadband`: milliseconds after which an unchanged "
        "value is reported all the same; one that the device pushes is read for that. 0 means "
        "never.",
    )
    derived: bool = Field(
        default=False,
        description="The device is not asked for it: apps publish its readings. It has no "
        "settings of the protocol and is never written.",
    )
    max_age: int = Field(
        default=0,
        ge=0,
        description="With `derived`: milliseconds without a reading after which it is bad, with "
        "the reason `stale`; counted from the mapper's start too. 0 means never.",
    )

    @property
    def is_scaled(self) -> bool:
        """Whether a reading is any other number than the device's own."""
        return self.scale != 1.0 or self.value_offset != 0.0

    @property
    def is_filtered(self) -> bool:
        """Whether unchanged values are held back."""
        return self.on_change or self.deadband > 0

    def misplaced(self, data_type: DataType) -> list[str]:
        """Names of the settings that make no sense for this type, or beside the others."""
        if self.scale == 0:
            return ["scale"]
        is_number = data_type in NUMERIC
        arithmetic = {
            "scale": self.scale != 1 and (self.derived or not is_number),
            "valueOffset": self.value_offset != 0 and (self.derived or not is_number),
            "decimals": self.decimals is not None and (self.derived or not is_number),
            "deadband": self.deadband != 0 and not is_number,
            "maxAge": self.max_age != 0 and not self.derived,
        }
        return [name for name, given in arithmetic.items() if given]

    def why_misplaced(self, name: str, data_type: DataType) -> str:
        """Say for people what is wrong with one of `misplaced`."""
        if self.scale == 0:
            return "must not be 0"
        if name == "maxAge":
            return "means nothing without `derived`"
        if self.derived and name != "deadband":
            return "means nothing for a derived property"
        return f"means nothing for {data_type}"


DEFAULTS = Common()
"""What holds where nothing was set; most properties share this one."""


def _names(field: str, info: FieldInfo) -> set[str]:
    """Every key of configData by which a field can be given."""
    names = {field, info.alias or field}
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    for choice in choices:
        if isinstance(choice, AliasPath):
            names.add(str(choice.path[0]))
        elif choice is not None:
            names.add(choice)
    return names


_COMMON_KEYS = frozenset().union(*(_names(n, i) for n, i in Common.model_fields.items()))


def split_settings(
    config: Mapping[str, Any], visit_model: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide configData into the common settings and the driver's.

    A key that the driver's model has a field or alias for is the driver's.
    """
    taken: set[str] = set()
    for name, info in visit_model.model_fields.items():
        taken |= _names(name, info)
    common_keys = _COMMON_KEYS - taken
    common = {key: value for key, value in config.items() if key in common_keys}
    own = {key: value for key, value in config.items() if key not in common_keys}
    return common, own


class Scaling:
    """The way from the device's number to the property's, and back.

    Calculated as one fraction of whole numbers, so that 203 x 0.1 is 20.3 and not
    20.300000000000001, and 20.3 is written as 203.
    """

    __slots__ = ("_added", "_divisor", "_factor", "common", "is_int")

    def __init__(self, common: Common, data_type: DataType) -> None:
        self.common = common
        self.is_int = data_type is DataType.INT
        scale = Fraction(Decimal(repr(common.scale)))
        offset = Fraction(Decimal(repr(common.value_offset)))
        divisor = math.lcm(scale.denominator, offset.denominator)
        self._factor: float = common.scale
        self._added: float = common.value_offset
        self._divisor = 1
        if divisor <= _LARGEST_DENOMINATOR:
            self._factor = int(scale * divisor)
            self._added = int(offset * divisor)
            self._divisor = divisor

    def apply(self, raw: float) -> int | float:
        """Give the property's number; for INT the nearest whole one, halves upwards.

        Raises:
            ConversionError: The result is not a number.
        """
        try:
            scaled = raw * self._factor + self._added
            if self.is_int:
                if isinstance(scaled, int):
                    return (2 * scaled + self._divisor) // (2 * self._divisor)
                return math.floor(scaled / self._divisor + 0.5)
            value = scaled / self._divisor
            decimals = self.common.decimals
            return value if decimals is None else round(value, decimals)
        except (OverflowError, ValueError) as error:
            raise ConversionError(f"{raw!r} cannot be scaled: {error}") from error

    def reverse(self, value: Value) -> Value:
        """Give what the device must be told; an int wherever that is exact.

        The driver rounds to what its device can hold. Text and booleans pass unchanged.
        """
        if not self.common.is_scaled or isinstance(value, (bool, str, bytes)):
            return value
        exact = Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))
        offset = Fraction(Decimal(repr(self.common.value_offset)))
        raw = (exact - offset) / Fraction(Decimal(repr(self.common.scale)))
        return raw.numerator if raw.denominator == 1 else float(raw)

    def same(self, wished: Value, read: Value) -> bool:
        """Whether a device that reads `read` has what was wished.

        Numbers may differ by half a step of the scale or of `decimals`, and by what a
        32-bit float cannot tell apart. Arrays and objects travel as JSON text: how that is
        spaced, and in what order its members stand, means nothing.
        """
        if isinstance(wished, (int, float)) and isinstance(read, (int, float)):
            tolerance = 0.0 if self.is_int else abs(wished) * _FLOAT32_EPSILON
            if self.common.is_scaled:
                tolerance += abs(self.common.scale) * 0.5 * (1 + 1e-9)
            if self.common.decimals is not None:
                tolerance += 0.5 * 10.0**-self.common.decimals * (1 + 1e-9)
            return abs(wished - read) <= tolerance
        return wished == read or _same_json(wished, read)


def _same_json(one: Value, other: Value) -> bool:
    if not (isinstance(one, str) and isinstance(other, str)):
        return False
    if one.lstrip()[:1] not in ("[", "{") or other.lstrip()[:1] != one.lstrip()[:1]:
        return False
    try:
        return bool(orjson.loads(one) == orjson.loads(other))
    except orjson.JSONDecodeError:
        return False


@lru_cache(maxsize=4096, typed=True)
def converter(
    data_type: DataType, common: Common, minimum: Value | None, maximum: Value | None
) -> Convert:
    """Give the function that turns a driver's value into a reading, as fast as can be.

    Properties that are declared alike share one. A number outside the declared range is
    kept, with quality UNCERTAIN.
    """
    scaling = Scaling(common, data_type)
    careful = _careful_converter(data_type, scaling, minimum, maximum)
    if data_type not in NUMERIC:
        return careful
    limit = FLOAT32_LIMIT if data_type is DataType.FLOAT else sys.float_info.max
    low = max(minimum, -limit) if isinstance(minimum, (int, float)) else -limit
    high = min(maximum, limit) if isinstance(maximum, (int, float)) else limit
    whole = data_type is DataType.INT
    if whole:
        low, high = max(low, -(2**63)), min(high, 2**63 - 1)
    if scaling.common.is_scaled or scaling.common.decimals is not None:
        apply = scaling.apply

        def convert_scaled(raw: Any, time: float) -> Reading:  # noqa: ANN401 - a driver's
            if (type(raw) is float or type(raw) is int) and low <= (value := apply(raw)) <= high:
                return Reading(value, time)
            return careful(raw, time)

        return convert_scaled
    expected: type[Any] = int if whole else float

    def convert(raw: Any, time: float) -> Reading:  # noqa: ANN401 - a driver's
        # Comparing also sorts out NaN, which is never within limits.
        if type(raw) is expected and low <= raw <= high:
            return Reading(raw, time)
        return careful(raw, time)

    return convert


def _careful_converter(
    data_type: DataType, scaling: Scaling, minimum: Value | None, maximum: Value | None
) -> Convert:
    coerce = coercer(data_type)
    common = scaling.common
    changes = data_type in NUMERIC and (common.is_scaled or common.decimals is not None)
    low = minimum if isinstance(minimum, (int, float)) else -math.inf
    high = maximum if isinstance(maximum, (int, float)) else math.inf

    def convert(raw: Any, time: float) -> Reading:  # noqa: ANN401 - a driver's
        if isinstance(raw, float) and not math.isfinite(raw):
            raise ConversionError(f"the device gives {raw}, which is not a number")
        if changes and isinstance(raw, (int, float)) and not isinstance(raw, bool):
            raw = scaling.apply(raw)
        value = coerce(raw)
        if isinstance(value, (int, float)) and not low <= value <= high:
            return Reading(value, time, Quality.UNCERTAIN, "out_of_range")
        return Reading(value, time)

    return convert


def settings_table() -> str:
    """The settings of `Common` as a Markdown document."""
    lines = [
        "# Settings common to all protocols",
        "",
        "They may stand in the `visitors.configData` of any property, beside the protocol's own",
        "settings, and in a DeviceModel's `visitors.configData` as defaults. Generated by",
        "`python -m mapper_sdk.devices.scaling`; a test keeps it so.",
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    schema = Common.model_json_schema(by_alias=True)["properties"]
    for name, info in Common.model_fields.items():
        key = to_camel(name)
        entry = schema[key]
        kind = entry.get("type") or entry["anyOf"][0]["type"]
        default = "" if info.default is None else str(info.default).lower()
        lines.append(f"| `{key}` | {kind} | {default} | {info.description} |")
    lines += [
        "",
        "A written value goes the other way: minus `valueOffset`, divided by `scale`.",
        "Numbers may be written as text. `scale`, `valueOffset`, `decimals` and `deadband` are for",
        "numbers only, the first three only for those that a device is asked for; they are",
        "refused elsewhere.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(settings_table())
