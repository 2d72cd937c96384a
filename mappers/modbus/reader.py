"""Reading one unit: plans kept, blocks fetched, refused ones divided and remembered."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from dmi.errors import ConfigError, ConversionError, DeadlineError, DmiError
from mapper_sdk.driver import Answer
from mappers.modbus.config import ModbusLink
from mappers.modbus.planner import Limits, Span, plan_blocks, split_spans
from mappers.modbus.refusals import Memory, Refusal
from mappers.modbus.registers import Codec, codec_for
from mappers.modbus.visit import ModbusVisit, Register

__all__ = ["Fetch", "Reader"]

Fetch = Callable[[Register, Span], Awaitable[bytes]]
"""Reads one block and gives its bytes, as `Codec.decode` wants them.

Raises Refusal where the device says no, DeadlineError where it says nothing.
"""

_MOST_PLANS = 64
"""Kept at once: a device has as many as its properties' cycles have common ticks."""


@dataclass(slots=True)
class _Part:
    """One span and the visits that it serves: place in the answers, and codec."""

    span: Span
    uses: list[tuple[int, Codec]] = field(default_factory=list)


@dataclass(slots=True)
class _Step:
    """One request; `takes` is what to do with its bytes: index, decode, start."""

    register: Register
    span: Span
    parts: dict[Span, _Part]
    takes: list[tuple[int, Callable[[bytes, int], Answer], int]]


@dataclass(slots=True)
class _Plan:
    """The steps for some visits; `answers` has what is known without asking."""

    visits: tuple[ModbusVisit, ...]
    answers: list[Answer]
    steps: list[_Step]


class Reader:
    """Turns visits into requests and answers, and learns what the device refuses."""

    def __init__(self, link: ModbusLink, now: Callable[[], float] = time.monotonic) -> None:
        self._order = link.byte_order
        self._registers = Limits(link.max_read_registers, link.max_gap)
        self._bits = Limits(link.max_read_coils, link.max_gap_coils)
        self._memory = Memory(link.refused_again_after, now)
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._planned_at = self._memory.version

    async def read(self, visits: Sequence[ModbusVisit], fetch: Fetch) -> list[Answer]:
        """Give one answer per visit, in order.

        A block that stays silent while the unit answers others fails alone.

        Raises:
            UnavailableError: The unit, or the way to it, is gone.
        """
        plan = self._plan_for(visits)
        answers = plan.answers.copy()
        heard = False
        for step in self._memory.silent_last(plan.steps):
            try:
                data = await fetch(step.register, step.span)
            except Refusal as refusal:
                await self._divide(step, refusal, fetch, answers)
            except DeadlineError as error:
                self._memory.note_silence(step, counts=heard)
                if not heard:
                    raise
                _give(step, error, answers)
                continue
            else:
                _take(step, data, answers)
                self._memory.note_answer(step)
            heard = True
        return answers

    def start_afresh(self) -> None:
        """The device was connected anew: ask for everything again."""
        self._memory.forget_refusals()

    # --------------------------------------------------------------- plans ----

    def _plan_for(self, visits: Sequence[ModbusVisit]) -> _Plan:
        """A plan is valid until something is learnt; visits are told apart by identity."""
        version = self._memory.refresh()
        if version != self._planned_at or len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
            self._planned_at = version
        key = tuple(map(id, visits))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._make_plan(tuple(visits))
        return plan

    def _make_plan(self, visits: tuple[ModbusVisit, ...]) -> _Plan:
        plan = _Plan(visits, [ConversionError("not read")] * len(visits), [])
        tables: dict[Register, dict[Span, _Part]] = {}
        for index, visit in enumerate(visits):
            span = Span(visit.offset, visit.offset + visit.limit)
            problem = self._too_long(visit) or self._memory.refused(visit.register_, span)
            if problem is not None:
                plan.answers[index] = problem
                continue
            parts = tables.setdefault(visit.register_, {})
            codec = codec_for(visit, self._order)
            parts.setdefault(span, _Part(span)).uses.append((index, codec))
        for register, parts in tables.items():
            limits = self._limits(register)
            for block in plan_blocks(parts, limits, self._memory.forbidden(register)):
                served = {span: parts[span] for span in block.parts}
                plan.steps.append(_make_step(register, block.span, served))
        return plan

    def _limits(self, register: Register) -> Limits:
        return self._bits if register.is_bit else self._registers

    def _too_long(self, visit: ModbusVisit) -> ConfigError | None:
        most = self._limits(visit.register_).most
        if visit.limit <= most:
            return None
        name = "maxReadCoils" if visit.register_.is_bit else "maxReadRegisters"
        return ConfigError(f"limit {visit.limit} is more than the device's {name} of {most}")

    # ------------------------------------------------------------ refusals ----

    async def _divide(
        self, step: _Step, refusal: Refusal, fetch: Fetch, answers: list[Answer]
    ) -> None:
        """Find out which parts of a refused block are granted, and remember the others."""
        if len(step.parts) == 1 or not refusal.may_spare_parts:
            self._memory.remember(step.register, step.parts, refusal)
            _give(step, refusal, answers)
            return
        left, right = split_spans(tuple(step.parts))
        granted = 0
        for spans in (left, right):
            whole = Span(min(s.start for s in spans), max(s.end for s in spans))
            half = _make_step(step.register, whole, {s: step.parts[s] for s in spans})
            try:
                data = await fetch(step.register, whole)
            except Refusal as error:
                await self._divide(half, error, fetch, answers)
                continue
            granted += 1
            _take(half, data, answers)
        if granted == 2:
            self._memory.forbid_joining(step.register, left, right)


def _make_step(register: Register, span: Span, parts: dict[Span, _Part]) -> _Step:
    takes: list[tuple[int, Callable[[bytes, int], Answer], int]] = [
        (index, codec.decode, part.span.start - span.start)
        for part in parts.values()
        for index, codec in part.uses
    ]
    return _Step(register, span, parts, takes)


def _take(step: _Step, data: bytes, answers: list[Answer]) -> None:
    for index, decode, start in step.takes:
        try:
            answers[index] = decode(data, start)
        except ConversionError as error:
            answers[index] = error


def _give(step: _Step, error: DmiError, answers: list[Answer]) -> None:
    for index, _, _ in step.takes:
        answers[index] = error
