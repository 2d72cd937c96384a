from enum import StrEnum
from types import MappingProxyType

import pytest
from pydantic import ValidationError

from mapper_sdk.devices.spelling import SpelledSettings, to_integer, word_for


class Order(StrEnum):
    BIG = "bigEndian"
    LITTLE = "little"


class Settings(SpelledSettings):
    other_names = MappingProxyType({"slaveid": "unitNumber"})
    ignored_names = frozenset({"collecttype"})

    unit_number: int = 0
    host: str = ""


@pytest.mark.parametrize("key", ["unitNumber", "UNIT-number", "unit_number", "slaveID", "Slave Id"])
def test_keys_are_taken_in_any_spelling(key):
    assert Settings.model_validate({key: 3, "collectType": "x"}).unit_number == 3


def test_equal_repetitions_are_one_and_others_a_mistake():
    assert Settings.model_validate({"slaveID": 3, "unitNumber": 3}).unit_number == 3
    with pytest.raises(ValidationError, match="'slaveID' and 'unitNumber' are one setting"):
        Settings.model_validate({"slaveID": 3, "unitNumber": 4})


def test_unknown_keys_and_what_is_no_block_are_mistakes():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"hots": "x"})
    with pytest.raises(ValidationError, match="dictionary"):
        Settings.model_validate([1])


def test_words_and_integers_are_read_as_people_write_them():
    read = word_for(Order, {"be": Order.BIG})
    assert [read("Big-Endian"), read("be"), read("middle"), read(7)] == [
        Order.BIG,
        Order.BIG,
        "middle",
        7,
    ]
    assert [to_integer(x) for x in ("0x10", " 16 ", "ten", 4)] == [16, 16, "ten", 4]
