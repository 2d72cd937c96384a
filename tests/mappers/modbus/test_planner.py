from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappers.modbus.planner import Block, Limits, Span, plan_blocks, split_spans


def spans(*pairs):
    return [Span(*pair) for pair in pairs]


def ranges(blocks):
    return [tuple(block.span) for block in blocks]


def test_neighbours_are_one_request():
    assert ranges(plan_blocks(spans((0, 2), (2, 4), (4, 5)), Limits(125, 0))) == [(0, 5)]


def test_a_gap_is_run_over_up_to_the_limit_and_no_further():
    wanted = spans((0, 1), (11, 12))
    assert ranges(plan_blocks(wanted, Limits(125, 10))) == [(0, 12)]
    assert ranges(plan_blocks(wanted, Limits(125, 9))) == [(0, 1), (11, 12)]


def test_a_value_is_never_torn_at_the_limit():
    wanted = spans(*((at, at + 4) for at in range(0, 252, 4)))
    assert ranges(plan_blocks(wanted, Limits(125, 0))) == [(0, 124), (124, 248), (248, 252)]


def test_a_hundred_registers_are_one_request_and_two_hundred_two():
    single = [Span(at, at + 1) for at in range(200)]
    assert len(plan_blocks(single[:100], Limits(125, 0))) == 1
    assert len(plan_blocks(single, Limits(125, 0))) == 2


def test_nothing_wanted_nothing_asked():
    assert plan_blocks([], Limits(125, 16)) == []


def test_each_span_is_served_once():
    wanted = spans((0, 8), (2, 4), (2, 4), (20, 22))
    blocks = plan_blocks(wanted, Limits(125, 4))
    assert [block.parts for block in blocks] == [
        (Span(0, 8), Span(2, 4)),
        (Span(20, 22),),
    ]


def test_what_does_not_fit_is_the_callers_mistake():
    with pytest.raises(ValueError, match="does not fit into 4"):
        plan_blocks(spans((0, 5)), Limits(4, 0))


def test_a_forbidden_gap_is_not_run_over():
    wanted = spans((0, 2), (4, 6), (6, 8))
    blocks = plan_blocks(wanted, Limits(125, 16), spans((1, 5)))
    assert ranges(blocks) == [(0, 2), (4, 8)]


def test_a_span_with_something_forbidden_inside_is_asked_for_alone():
    wanted = spans((0, 2), (2, 6), (3, 4), (6, 8))
    blocks = plan_blocks(wanted, Limits(125, 16), spans((3, 5)))
    assert ranges(blocks) == [(0, 2), (2, 6), (6, 8)]
    assert blocks[1].parts == (Span(2, 6), Span(3, 4))


@st.composite
def problems(draw):
    """Small enough for every way to be tried."""
    most = draw(st.integers(1, 8))
    pairs = st.tuples(st.integers(0, 16), st.integers(1, most))
    wanted = draw(st.lists(pairs.map(lambda p: Span(p[0], p[0] + p[1])), min_size=1, max_size=6))
    forbid = st.tuples(st.integers(0, 16), st.integers(1, 5))
    forbidden = draw(st.lists(forbid.map(lambda p: Span(p[0], p[0] + p[1])), max_size=3))
    return wanted, Limits(most, draw(st.integers(0, 5))), forbidden


def allowed(block, wanted, limits, forbidden):
    """The rules for a single request, stated apart from the planner."""
    if block in wanted:
        return True
    touched = {a for span in wanted for a in range(*span)}
    idle = 0
    for address in range(*block):
        idle = 0 if address in touched else idle + 1
        if idle > limits.gap:
            return False
    return block.end - block.start <= limits.most and not any(block.holds(f) for f in forbidden)


def fewest(wanted, limits, forbidden):
    """The least number of allowed blocks that hold all spans, by trying every set of them."""
    starts, ends = {s.start for s in wanted}, {s.end for s in wanted}
    blocks = [
        Span(start, end)
        for start in starts
        for end in ends
        if start < end and allowed(Span(start, end), wanted, limits, forbidden)
    ]
    for number in range(1, len(wanted) + 1):
        for chosen in combinations(blocks, number):
            if all(any(block.holds(span) for block in chosen) for span in wanted):
                return number
    raise AssertionError("no way at all")


@settings(max_examples=400, deadline=None)
@given(problem=problems())
def test_no_other_way_needs_fewer_requests(problem):
    wanted, limits, forbidden = problem
    blocks = plan_blocks(wanted, limits, forbidden)
    assert len(blocks) == fewest(wanted, limits, forbidden)


@settings(max_examples=400, deadline=None)
@given(problem=problems())
def test_every_plan_keeps_the_rules(problem):
    wanted, limits, forbidden = problem
    blocks = plan_blocks(wanted, limits, forbidden)
    assert sorted(part for block in blocks for part in block.parts) == sorted(set(wanted))
    for block in blocks:
        assert isinstance(block, Block)
        assert all(block.span.holds(part) for part in block.parts)
        assert allowed(block.span, wanted, limits, forbidden)


@given(st.sets(st.integers(0, 3000), min_size=1, max_size=300))
def test_the_protocol_limit_is_never_passed(addresses):
    bits = [Span(a, a + 1) for a in addresses]
    blocks = plan_blocks(bits, Limits(2000, 2000))
    assert all(block.span.end - block.span.start <= 2000 for block in blocks)


def test_a_refused_block_is_cut_at_its_widest_hole():
    wanted = spans((0, 2), (2, 4), (9, 10), (12, 14))
    assert split_spans(wanted) == (tuple(wanted[:2]), tuple(wanted[2:]))


def test_without_a_hole_it_is_cut_in_the_middle():
    wanted = spans((0, 2), (2, 4), (4, 6), (6, 8))
    assert split_spans(wanted) == (tuple(wanted[:2]), tuple(wanted[2:]))
    assert split_spans(spans((0, 4), (2, 6))) == ((Span(0, 4),), (Span(2, 6),))
