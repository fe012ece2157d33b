"""The account of memory: what a session was promised it keeps, and the stepper is told of every page in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.memory import Memory
from antiphon_cloud.engine.slot import Slot
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.runner.settings import SessionSettings
from tests.support.time_travel import NET_S
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import SPEC, StubRunner

CODES = np.arange(8, dtype=np.int32)
SLOTS, PAGE, CONTEXT = 4, 25, 100  # four pages a context
PROMISE = 2 * PAGE
SHAPE = PoolShape.of(SLOTS, CONTEXT, PAGE, PROMISE, pages=9)

turns = st.lists(
    st.tuples(st.integers(0, SLOTS - 1), st.integers(1, 60), st.booleans(), st.integers(0, 150)), max_size=80
)


@dataclass
class Session:
    """A session of the account, and where it stands."""

    step: int
    pages: int
    short: bool = False  # whether it was given no page where it could have used one


@settings(max_examples=60, deadline=None, derandomize=True)
@given(turns=turns)
def test_every_session_looks_back_as_far_as_it_was_promised_whoever_comes_grows_and_goes(
    turns: list[tuple[int, int, bool, int]],
) -> None:
    memory, sessions = Memory(SHAPE, SLOTS, Metrics()), dict[int, Session]()
    for row, steps, leaves, history in turns:
        if row not in sessions:
            needed = memory.needed_steps(history)
            assert needed >= max(PROMISE, min(history, CONTEXT))
            if needed <= memory.free_steps:  # as admission asks
                sessions[row] = Session(history, memory.begin(row, history))
                assert sessions[row].pages * PAGE == needed
        elif leaves:
            memory.end(row)
            del sessions[row]
        else:
            one = sessions[row]
            for _ in range(steps):
                free = memory.free_steps
                more = memory.grow(row, one.step)
                assert more in (None, one.pages + 1)
                one.pages = more or one.pages
                one.step += 1
                looks_back = SHAPE.window(one.pages)
                assert looks_back >= min(one.step, PROMISE)
                if looks_back < min(one.step, CONTEXT):
                    assert one.short or not free
                    one.short = True  # for good: its ring has wrapped
        held = sum(one.pages for one in sessions.values())
        assert memory.free_steps == (SHAPE.pages - held) * PAGE >= 0


@dataclass
class WatchedRunner(StubRunner):
    """Notes after how many steps of a slot's session it is let have more pages."""

    spec: ModelSpec = field(default_factory=lambda: replace(SPEC, context_steps=CONTEXT))
    grown: list[tuple[int, int, int]] = field(default_factory=list)  # slot, its steps, its pages from then on

    def allow(self, slot: int, pages: int) -> None:
        if self.allowed[slot] and pages:
            self.grown.append((slot, self._steps[slot], pages))
        super().allow(slot, pages)


@asynccontextmanager
async def running(runner: StubRunner, metrics: Metrics, pool: PoolShape | None = SHAPE) -> AsyncIterator[Engine]:
    engine = Engine(StepperThread(runner), metrics=metrics, pool=pool)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


class Talk:
    """A session in a slot of an engine."""

    def __init__(self, engine: Engine, history: HistoryTokens | None = None, prompt_steps: int = 0) -> None:
        self._engine = engine
        self._outbox: asyncio.Queue[object] = asyncio.Queue()
        self._step = history.steps - prompt_steps if history is not None else 0
        settings = SessionSettings(prompt_steps=prompt_steps)
        self.slot: Slot = engine.take(0, Sampling(), self._outbox.put_nowait, "anyone", history, settings)

    async def go_on(self, steps: int) -> None:
        await asyncio.wait_for(self.slot.ready, NET_S)
        for step in range(self._step, self._step + steps):
            self._engine.submit(self.slot, step, CODES)
            await asyncio.wait_for(self._outbox.get(), NET_S)
        self._step += steps


def past(steps: int) -> HistoryTokens:
    return HistoryTokens(
        steps, np.zeros((steps, 8), np.int32), np.zeros(steps, np.int32), np.zeros((steps, 8), np.int32)
    )


async def test_a_session_grows_a_page_at_a_time_just_before_the_step_that_enters_it() -> None:
    runner = WatchedRunner()
    async with running(runner, Metrics()) as engine:
        await Talk(engine).go_on(3 * CONTEXT)
    assert runner.grown == [(0, 2 * PAGE, 3), (0, 3 * PAGE, 4)]  # and no further than the context


async def test_a_session_that_finds_no_page_beyond_its_promise_goes_on_and_is_counted_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner, metrics = WatchedRunner(), Metrics()
    async with running(runner, metrics) as engine:
        first, _, last = Talk(engine), Talk(engine), Talk(engine)
        await first.go_on(CONTEXT)  # four pages, and two each for the others
        with caplog.at_level(logging.INFO, "antiphon_cloud.engine.memory"):
            await last.go_on(5 * CONTEXT)
        assert runner.allowed == [4, 2, 3, 0]  # the last one took the ninth
        assert metrics.registry.get_sample_value("antiphon_closed_rings_total") == 1
        assert [record.message for record in caplog.records] == [
            "slot 2: no memory is free beyond its session's promise: from now on it looks back 6 s, not 8"
        ]
        engine.release(first.slot)
        await last.go_on(2 * CONTEXT)
        assert runner.allowed == [0, 2, 3, 0]  # its ring has wrapped, and stays as it is
        assert engine.memory.free_steps == 4 * PAGE
        engine.release(last.slot)
        Talk(engine)
        await Talk(engine).go_on(CONTEXT)
        assert runner.allowed == [2, 2, 4, 0]  # of the next session in its slot nothing is left over


async def test_a_resumed_session_has_the_pages_of_its_history_before_it_is_rebuilt() -> None:
    runner = WatchedRunner()
    async with running(runner, Metrics()) as engine:
        runner.gate.clear()
        talk = Talk(engine, past(3 * PAGE + 1))
        await asyncio.to_thread(runner.entered.wait, NET_S)  # amid its first chunk
        assert runner.allowed[0] == 4
        runner.gate.set()
        await talk.go_on(CONTEXT)
    assert runner.grown == []


async def test_the_steps_of_a_prompt_take_memory_too_and_are_no_resumption() -> None:
    runner, metrics = WatchedRunner(), Metrics()
    async with running(runner, metrics) as engine:
        talk = Talk(engine, past(2 * PAGE), prompt_steps=2 * PAGE)
        await talk.go_on(1)
        assert runner.grown == [(0, 2 * PAGE, 3)]
        await Talk(engine, past(2 * PAGE + 1), prompt_steps=2 * PAGE).go_on(1)
    assert metrics.registry.get_sample_value("antiphon_resumes_total", {"how": "history"}) == 1


async def test_where_slots_share_no_memory_none_is_short() -> None:
    runner, metrics = WatchedRunner(), Metrics()
    async with running(runner, metrics, pool=None) as engine:
        talks = [Talk(engine) for _ in range(SLOTS)]
        await talks[0].go_on(3 * CONTEXT)
        assert runner.allowed == [1] * SLOTS
    assert runner.grown == []
    assert metrics.registry.get_sample_value("antiphon_closed_rings_total") == 0
