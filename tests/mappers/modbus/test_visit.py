import pytest
from pydantic import ValidationError

from dmi.wording import fault_of
from mapper_sdk.devices.scaling import split_settings
from mappers.modbus.visit import ByteOrder, ModbusVisit, Register, ValueType


def visit(declared="", **settings):
    return ModbusVisit.model_validate(settings, context={"type": declared})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HoldingRegister", Register.HOLDING),
        ("holding", Register.HOLDING),
        ("INPUT", Register.INPUT),
        ("input-register", Register.INPUT),
        ("coil", Register.COIL),
        ("CoilRegister", Register.COIL),
        ("discrete", Register.DISCRETE_INPUT),
        ("DiscreteInputRegister", Register.DISCRETE_INPUT),
    ],
)
def test_register_names(written, meant):
    assert visit(register=written).register_ is meant


@pytest.mark.parametrize(
    ("declared", "limit", "meant"),
    [
        ("INT", 1, ValueType.UINT16),
        ("INT", 2, ValueType.UINT32),
        ("INT", 4, ValueType.UINT64),
        ("FLOAT", 1, ValueType.UINT16),
        ("FLOAT", 2, ValueType.FLOAT32),
        ("DOUBLE", 2, ValueType.FLOAT32),
        ("DOUBLE", 4, ValueType.FLOAT64),
        ("BOOLEAN", 1, ValueType.BOOL),
        ("STRING", 8, ValueType.STRING),
        ("BYTES", 8, ValueType.BYTES),
        ("", 1, ValueType.UINT16),
        ("", 2, ValueType.UINT32),
    ],
)
def test_kubeedge_visitor_means_what_the_declared_type_says(declared, limit, meant):
    found = visit(declared, register="HoldingRegister", offset=2, limit=limit)
    assert (found.type, found.limit, found.count) == (meant, limit, 1)


def test_kubeedge_data_type_words_are_understood():
    assert visit(dataType="float", limit=2).type is ValueType.FLOAT32
    assert visit(dataType="boolean").type is ValueType.BOOL


def test_kubeedge_coil_sample_with_an_int_gives_a_number():
    found = visit(
        "INT", register="CoilRegister", offset=2, limit=1, isSwap=True, isRegisterSwap=True
    )
    assert (found.type, found.order) == (ValueType.UINT16, ByteOrder.DCBA)
    assert visit("BOOLEAN", register="coil").type is ValueType.BOOL


@pytest.mark.parametrize(
    ("swap", "register_swap", "order"),
    [
        (False, False, None),
        (True, False, ByteOrder.BADC),
        (False, True, ByteOrder.CDAB),
        (True, True, ByteOrder.DCBA),
    ],
)
def test_kubeedge_swaps_are_byte_orders(swap, register_swap, order):
    assert visit(isSwap=swap, isRegisterSwap=register_swap).order is order


@pytest.mark.parametrize(
    ("settings", "limit", "count"),
    [
        ({"type": "float32"}, 2, 1),
        ({"type": "uint64", "count": 3}, 12, 3),
        ({"type": "int32", "limit": 6}, 6, 3),
        ({"count": 8}, 8, 8),
        ({"type": "int", "limit": 8, "count": 4}, 8, 4),
        ({"register": "coil", "count": 16}, 16, 16),
        ({"register": "coil", "limit": 16}, 16, 16),
        ({"type": "string", "limit": 5}, 5, 1),
        ({"bit": 3}, 1, 1),
    ],
)
def test_limit_and_count_complete_each_other(settings, limit, count):
    found = visit(**settings)
    assert (found.limit, found.count) == (limit, count)


@pytest.mark.parametrize(
    ("reference", "register", "offset"),
    [
        ("40001", Register.HOLDING, 0),
        (40108, Register.HOLDING, 107),
        ("465536", Register.HOLDING, 65535),
        (30001, Register.INPUT, 0),
        ("00001", Register.COIL, 0),
        ("100010", Register.DISCRETE_INPUT, 9),
    ],
)
def test_references_as_manuals_print_them(reference, register, offset):
    found = visit(reference=reference)
    assert (found.register_, found.offset) == (register, offset)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"type": "float32", "limit": 1}, "limit 1 does not hold whole float32s"),
        ({"type": "float32", "limit": 4, "count": 1}, "1 float32 take 2 registers; limit is 4"),
        ({"limit": 3}, "3 registers are no int"),
        ({"type": "float", "limit": 3}, "say which `type`"),
        ({"bit": 2, "type": "int16"}, "a single bit is a bool"),
        ({"bit": 2, "limit": 2}, "one bit of one register"),
        ({"bit": 16}, "less than or equal to 15"),
        ({"register": "coil", "bit": 2}, "bits themselves"),
        ({"register": "coil", "type": "float32"}, "holds no float32"),
        ({"type": "string", "count": 2, "limit": 4}, "string has no count"),
        ({"type": "string", "limit": 126}, "one request reads 125"),
        ({"register": "coil", "limit": 2001}, "less than or equal to 2000"),
        ({"offset": 65535, "type": "int32"}, "beyond address 65535"),
        ({"offset": -1}, "greater than or equal to 0"),
        ({"register": "output"}, "'CoilRegister'"),
        ({"type": "int8"}, "'int16'"),
        ({"byteOrder": "CDAB", "isSwap": True}, "keep one way"),
        ({"reference": "40001", "offset": 3}, "keep one way"),
        ({"reference": "40000"}, "counts from 1"),
        ({"reference": "21"}, "pattern"),
        ({"encoding": "klingon"}, "pattern"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(ValidationError, match=words):
        visit(**settings)


def test_one_order_said_in_both_ways_is_fine():
    assert visit(byteOrder="CDAB", isRegisterSwap=True).order is ByteOrder.CDAB


def test_unknown_key_is_named_with_what_was_meant():
    with pytest.raises(ValidationError) as refused:
        visit(regsiter="coil")
    fault = fault_of(refused.value.errors()[0], ModbusVisit)
    assert fault.path == ("regsiter",)
    assert "register" in fault.hint


def test_offset_is_the_address_and_scale_stays_common():
    common, own = split_settings(
        {"register": "holding", "offset": 2, "scale": 0.1, "valueOffset": 5}, ModbusVisit
    )
    assert own == {"register": "holding", "offset": 2}
    assert common == {"scale": 0.1, "valueOffset": 5}


def test_equal_settings_make_equal_visits():
    assert visit(offset="0x10", type="float32") == visit(address=16, dataType="FLOAT32")


def test_what_is_no_mapping_is_refused():
    with pytest.raises(ValidationError):
        ModbusVisit.model_validate("coil")
