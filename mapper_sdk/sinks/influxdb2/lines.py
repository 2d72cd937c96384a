"""Readings as lines: what of a line its route settles, and batches of lines."""

from collections.abc import Mapping, Sequence
from typing import Final

from dmi.errors import ConversionError, DmiError, RefusedError
from dmi.readings import QUALITIES, Quality, Reading
from mapper_sdk.delivery.sink import Item, Route
from mapper_sdk.sinks.influxdb2.line_protocol import (
    Precision,
    field_value,
    measurement_name,
    tag_or_key,
    unit_of,
)
from mapper_sdk.sinks.influxdb2.settings import Influxdb2Place, QualityAs
from mapper_sdk.sinks.payloads import Template

__all__ = ["Lines", "Series"]

_FIELD: Final = QualityAs.FIELD
_NONE: Final = QualityAs.NONE
_GOOD: Final = Quality.GOOD  # looked up once, for there is one reading after the other


class Series:
    """What is the same in all lines of one route.

    Attributes:
        heads: Measurement and tags, by the quality of the reading.
        before: Key of the field, up to its value.
        after: What follows the value of a good reading.
        again: How the field begins where it is not the first of its line.
        head: Measurement and tags of a good reading.
        quality: Key of the field with the quality, up to its value; empty where there is none.
        reason: The same with the reason.
    """

    __slots__ = ("after", "again", "before", "head", "heads", "quality", "reason")

    def __init__(self, route: Route[Influxdb2Place]) -> None:
        """Write names.

        Raises:
            ConversionError: The protocol cannot write one of them.
        """
        source, place = route.source, route.place
        measurement, field = Template(place.measurement), Template(place.field)
        key = field.fill(source, str)
        self.before = f"{tag_or_key(key)}="
        self.again = f",{self.before}"
        self.quality = f"{tag_or_key(f'{key}_quality')}=" if place.quality is _FIELD else ""
        self.after = f",{self.quality}{Quality.GOOD.value}i" if self.quality else ""
        self.reason = "" if place.quality is _NONE else f"{tag_or_key(f'{key}_reason')}="
        tags = {"namespace": source.device.namespace, "device": source.device.name}
        if "property" not in measurement.fields | field.fields:
            tags["property"] = source.property
        tags |= {key: Template(text).fill(source, str) for key, text in place.tags.items()}
        name = measurement_name(measurement.fill(source, str))
        self.heads = dict.fromkeys(Quality, _head(name, tags))
        if place.quality is QualityAs.TAG:
            for quality in Quality:
                self.heads[quality] = _head(name, {**tags, "quality": QUALITIES[quality]})
        self.head = self.heads[Quality.GOOD]  # a quality as a key costs as much as all the rest

    def fields(self, reading: Reading) -> str:
        """What a line says of one reading; empty when it can say nothing."""
        value = reading.value
        if reading.quality is _GOOD and value is not None:
            # What most readings are: a number that is neither NaN nor infinite.
            plain = type(value) is float and value - value == 0
            return f"{self.before}{repr(value) if plain else field_value(value)}{self.after}"
        fields = []
        if value is not None:
            fields.append(self.before + field_value(value))
        if self.quality:
            fields.append(f"{self.quality}{reading.quality.value}i")
        if self.reason and reading.reason:
            fields.append(self.reason + field_value(reading.reason))
        return ",".join(fields)


def _head(measurement: str, tags: Mapping[str, str]) -> str:
    # Sorted, because that is what the server would have to do.
    pairs = [f"{tag_or_key(key)}={tag_or_key(tags[key])}" for key in sorted(tags)]
    return ",".join([measurement, *pairs])


class Lines:
    """Readings as lines, and which readings are in which line.

    Attributes:
        texts: The lines.
        refused: Readings that cannot be written, by index, with why.
    """

    def __init__(self, precision: Precision, refused: dict[int, DmiError]) -> None:
        self.texts: list[str] = []
        self.refused = refused
        self._firsts: list[int] = []  # index of the first reading in each line
        self._end = 0
        self._unwritten: set[int] = set()  # those that there is nothing to write of
        self._unit = unit_of(precision)

    def add(self, items: Sequence[Item[Influxdb2Place]], first: int) -> None:
        """Write some more; neighbours with one series and time become one line.

        Args:
            items: The readings.
            first: Index of the first of them.
        """
        factor, scale = self._unit
        texts = self.texts
        head, line, moment, opener = "", "", 0, None
        for index, (route, reading) in enumerate(items, first):
            try:
                series = route.cache
                if not isinstance(series, Series):
                    series = route.cache = Series(route)
                fields = series.fields(reading)
            except ConversionError as error:
                self.refused[index] = error
                continue
            if not fields:
                self._unwritten.add(index)
                continue
            quality = reading.quality
            its_head = series.head if quality is _GOOD else series.heads[quality]
            when = round(reading.time * factor) * scale
            if (
                when == moment
                and its_head == head
                and series is not opener
                and series.again not in line
            ):
                line = f"{line},{fields}"
                continue
            if line:
                texts.append(f"{head} {line} {moment}")
            head, line, moment, opener = its_head, fields, when, series
            self._firsts.append(index)
        if line:
            texts.append(f"{head} {line} {moment}")
        self._end = first + len(items)

    def refuse(self, bad: Mapping[int, str]) -> None:
        """Take lines out, by their place, and note why for the readings in them."""
        ends = [*self._firsts[1:], self._end]
        for number in sorted(bad, reverse=True):
            error = RefusedError(bad[number])
            members = range(self._firsts.pop(number), ends[number])
            lost = (n for n in members if n not in self.refused and n not in self._unwritten)
            self.refused.update(dict.fromkeys(list(lost), error))
            del self.texts[number]
