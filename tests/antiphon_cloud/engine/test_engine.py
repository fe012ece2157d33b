"""The engine's promises: replies in order, slots that forget, failures that stay where they happened."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from antiphon.errors import AntiphonError, PreconditionError, UnavailableError
from antiphon.history import HistoryTokens
from antiphon.spec import Sampling
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.slot import Reply, Slot
from antiphon_cloud.errors import CheckpointError, DeviceLostError
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import StubRunner, expected

CODES = np.arange(8, dtype=np.int32)
Outbox = asyncio.Queue[Reply | AntiphonError]


@asynccontextmanager
async def running(runner: StubRunner) -> AsyncIterator[Engine]:
    engine = Engine(StepperThread(runner))
    await engine.start()
    try:
        yield engine
    finally:
        runner.gate.set()
        await engine.stop()


def take(engine: Engine, seed: int = 0) -> tuple[Slot, Outbox]:
    outbox: Outbox = asyncio.Queue()
    return engine.take(seed, Sampling(), outbox.put_nowait, "anyone"), outbox


async def receive(outbox: Outbox) -> Reply:
    reply = await asyncio.wait_for(outbox.get(), 10)
    assert isinstance(reply, Reply)
    return reply


async def test_a_frame_is_answered_with_its_own_step() -> None:
    async with running(StubRunner()) as engine:
        session, outbox = take(engine, seed=3)
        for sequence in range(5):
            engine.submit(session, sequence, CODES)
        replies = [await receive(outbox) for _ in range(5)]
    assert [reply.sequence for reply in replies] == list(range(5))
    assert [reply.text_token for reply in replies] == [-2, 1, 2, 3, 4]
    assert (replies[4].codes == expected(CODES, seed=3, step=4)).all()


async def test_the_stepper_takes_another_log_level_before_the_next_frame() -> None:
    root = logging.getLogger()  # the stub's stepper runs in this process
    before = root.level
    try:
        async with running(StubRunner()) as engine:
            session, outbox = take(engine)
            engine.set_log_level(logging.CRITICAL)
            engine.submit(session, 0, CODES)
            await receive(outbox)
        assert root.level == logging.CRITICAL
    finally:
        root.setLevel(before)


async def test_frames_that_wait_together_are_stepped_together() -> None:
    runner = StubRunner()
    async with running(runner) as engine:
        runner.gate.clear()
        sessions = [take(engine) for _ in range(3)]
        engine.submit(sessions[0][0], 0, CODES)
        await asyncio.to_thread(runner.entered.wait, 10)
        for session, _ in sessions[1:]:
            engine.submit(session, 0, CODES)
        engine.submit(sessions[0][0], 1, CODES)
        runner.gate.set()
        for _, outbox in sessions:
            await receive(outbox)
    assert runner.batches == [[0], [0, 1, 2]]


async def test_a_released_slot_is_taken_again() -> None:
    async with running(StubRunner(slots=2)) as engine:
        (first, _), _ = take(engine), take(engine)
        engine.release(first)
        engine.release(first)  # twice does no harm
        session, _ = take(engine)
        assert session.row == 0


async def test_a_late_reply_never_reaches_the_slots_next_owner() -> None:
    runner = StubRunner(slots=1)
    async with running(runner) as engine:
        runner.gate.clear()
        old, old_outbox = take(engine, seed=1)
        engine.submit(old, 0, CODES)
        await asyncio.to_thread(runner.entered.wait, 10)
        engine.release(old)
        new, new_outbox = take(engine, seed=9)
        engine.submit(new, 0, CODES)
        engine.submit(new, 1, CODES)
        runner.gate.set()
        replies = [await receive(new_outbox) for _ in range(2)]
    assert [reply.text_token for reply in replies] == [-2, 1]
    assert (replies[1].codes == expected(CODES, seed=9, step=1)).all()
    assert old_outbox.empty()


async def test_frames_of_a_session_that_left_are_not_stepped() -> None:
    runner = StubRunner(slots=2)
    async with running(runner) as engine:
        runner.gate.clear()
        blocker, outbox = take(engine)
        engine.submit(blocker, 0, CODES)
        await asyncio.to_thread(runner.entered.wait, 10)
        gone, _ = take(engine)
        engine.submit(gone, 0, CODES)
        engine.release(gone)
        runner.gate.set()
        await receive(outbox)
        engine.submit(blocker, 1, CODES)
        await receive(outbox)
    assert runner.batches == [[0], [0]]


async def test_a_failed_step_ends_its_sessions_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    runner = StubRunner(fail_on_code=2000)
    async with running(runner) as engine:
        bad, bad_outbox = take(engine)
        good, good_outbox = take(engine)
        engine.submit(bad, 0, np.full(8, 2000, np.int32))
        error = await asyncio.wait_for(bad_outbox.get(), 10)
        assert isinstance(error, AntiphonError)
        assert "frame 0" in str(error)
        engine.submit(good, 0, CODES)
        assert (await receive(good_outbox)).sequence == 0
    assert "a step over 1 sessions failed" in caplog.text


async def test_a_session_is_prefilled_between_the_others_steps() -> None:
    runner = StubRunner()
    history = HistoryTokens(60, np.zeros((60, 8), np.int32), np.zeros(60, np.int32), np.zeros((60, 8), np.int32))
    async with running(runner) as engine:
        neighbour, outbox = take(engine)
        runner.gate.clear()
        rebuilt_outbox: Outbox = asyncio.Queue()
        rebuilt = engine.take(3, Sampling(), rebuilt_outbox.put_nowait, "anyone", history)
        await asyncio.to_thread(runner.entered.wait, 10)  # amid its first chunk
        for sequence in range(3):
            engine.submit(neighbour, sequence, CODES)
        runner.gate.set()
        assert [(await receive(outbox)).sequence for _ in range(3)] == [0, 1, 2]
        await asyncio.wait_for(rebuilt.ready, 10)
        engine.submit(rebuilt, 60, CODES)
        reply = await receive(rebuilt_outbox)
    assert (reply.sequence, reply.text_token) == (60, 60)
    assert (reply.codes == expected(CODES, seed=3, step=60)).all()
    assert sum(runner.chunks) == 60


async def test_a_short_history_is_prefilled_before_another_owners_long_ones() -> None:
    runner = StubRunner()
    order: list[str] = []

    def resume(engine: Engine, owner: str, steps: int) -> Slot:
        history = HistoryTokens(steps, *(np.zeros(shape, np.int32) for shape in ((steps, 8), steps, (steps, 8))))
        slot = engine.take(3, Sampling(), lambda reply: None, owner, history)
        slot.ready.add_done_callback(lambda _: order.append(owner))
        return slot

    async with running(runner) as engine:
        runner.gate.clear()
        slots = [resume(engine, "greedy", 700) for _ in range(3)]
        await asyncio.to_thread(runner.entered.wait, 10)
        slots.append(resume(engine, "modest", 41))
        runner.gate.set()
        await asyncio.wait_for(asyncio.gather(*(slot.ready for slot in slots)), 60)
    assert order == ["modest", "greedy", "greedy", "greedy"]


async def test_a_prefill_that_fails_ends_its_session_alone(caplog: pytest.LogCaptureFixture) -> None:
    history = HistoryTokens(1, np.zeros((1, 8), np.int32), np.zeros(1, np.int32), np.zeros((1, 8), np.int32))
    async with running(StubRunner(fail_on_seed=13)) as engine:
        unlucky = engine.take(13, Sampling(), lambda reply: None, "anyone", history)
        with pytest.raises(AntiphonError, match="could not be rebuilt"):
            await asyncio.wait_for(unlucky.ready, 10)
        good, outbox = take(engine)
        engine.submit(good, 0, CODES)
        assert (await receive(outbox)).sequence == 0
    assert "rebuilding a session" in caplog.text


@pytest.mark.parametrize("steps", [0, 1], ids=["new", "rebuilt"])
async def test_a_session_that_asks_for_what_is_not_there_hears_so_itself(
    steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    history = HistoryTokens(steps, *(np.zeros(shape, np.int32) for shape in ((steps, 8), steps, (steps, 8))))
    outbox: Outbox = asyncio.Queue()
    async with running(StubRunner(fail_on_seed=13, fault=PreconditionError)) as engine:
        slot = engine.take(13, Sampling(), outbox.put_nowait, "anyone", history if steps else None)
        if not steps:
            engine.submit(slot, 0, CODES)
        told = await asyncio.wait_for(outbox.get() if not steps else _error_of(slot), 10)
    assert isinstance(told, PreconditionError)
    assert str(told) == "the stub was told to fail"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("steps", [0, 1], ids=["new", "rebuilt"])
async def test_the_log_names_a_damaged_file_and_the_edge_does_not_hear_where_it_lies(
    steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    class DamagedError(CheckpointError):
        def __init__(self, _: str) -> None:
            super().__init__("/srv/models/voices/NATF2.pt: a damaged file")

    history = HistoryTokens(steps, *(np.zeros(shape, np.int32) for shape in ((steps, 8), steps, (steps, 8))))
    outbox: Outbox = asyncio.Queue()
    async with running(StubRunner(fail_on_seed=13, fault=DamagedError)) as engine:
        slot = engine.take(13, Sampling(), outbox.put_nowait, "anyone", history if steps else None)
        if not steps:
            engine.submit(slot, 0, CODES)
        told = await asyncio.wait_for(outbox.get() if not steps else _error_of(slot), 10)
    assert "choose another voice, or worker" in str(told)
    assert "/srv" not in str(told)
    assert "/srv/models/voices/NATF2.pt" in caplog.text


async def _error_of(slot: Slot) -> BaseException | None:
    await asyncio.wait((slot.ready,))
    return slot.ready.exception()


async def test_a_session_that_leaves_amid_its_prefill_is_forgotten() -> None:
    runner = StubRunner(slots=1)
    history = HistoryTokens(60, np.zeros((60, 8), np.int32), np.zeros(60, np.int32), np.zeros((60, 8), np.int32))
    async with running(runner) as engine:
        runner.gate.clear()
        gone = engine.take(3, Sampling(), lambda reply: None, "anyone", history)
        await asyncio.to_thread(runner.entered.wait, 10)
        engine.release(gone)
        new, outbox = take(engine, seed=9)
        engine.submit(new, 0, CODES)
        engine.submit(new, 1, CODES)
        runner.gate.set()
        await receive(outbox)
        assert ((await receive(outbox)).codes == expected(CODES, seed=9, step=1)).all()
    assert len(runner.chunks) == 1


async def test_logits_that_are_no_numbers_end_one_session_and_name_the_step() -> None:
    runner = StubRunner(no_number_on_code=2000)
    async with running(runner) as engine:
        runner.gate.clear()
        blocker, blocker_outbox = take(engine)
        engine.submit(blocker, 0, CODES)
        await asyncio.to_thread(runner.entered.wait, 10)
        (bad, bad_outbox), (good, good_outbox) = take(engine), take(engine)
        engine.submit(bad, 0, CODES)
        engine.submit(bad, 1, np.full(8, 2000, np.int32))
        for sequence in range(3):
            engine.submit(good, sequence, CODES)
        runner.gate.set()
        await receive(bad_outbox)
        error = await asyncio.wait_for(bad_outbox.get(), 10)
        assert isinstance(error, AntiphonError)
        assert "step 1 " in str(error)
        assert [(await receive(good_outbox)).sequence for _ in range(3)] == [0, 1, 2]
        await receive(blocker_outbox)
    assert [1, 2] in runner.batches  # they shared the step


async def test_steps_that_take_longer_than_a_frame_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("antiphon_cloud.engine.stepper.FRAME_MS", -1.0)
    async with running(StubRunner()) as engine:
        session, outbox = take(engine)
        for sequence in range(25):
            engine.submit(session, sequence, CODES)
            await receive(outbox)
    assert caplog.text.count("sessions fall behind") == 1


async def test_the_engine_counts_its_sessions_and_measures_its_steps() -> None:
    async with running(StubRunner()) as engine:
        assert engine.forecast.step_times().p99_ms == 0
        session, outbox = take(engine)
        engine.submit(session, 0, CODES)
        await receive(outbox)
        steps = engine.forecast.step_times()
        assert engine.sessions == 1
        assert 0 < steps.p50_ms <= steps.p99_ms
        engine.release(session)
        assert engine.sessions == 0


@pytest.mark.parametrize("lost_in", ["a step", "a start", "a rebuild"])
async def test_a_lost_device_is_told_to_the_worker_first_and_then_to_every_session(lost_in: str) -> None:
    told: list[str] = []
    engine = Engine(StepperThread(StubRunner(fail_on_code=2000, fail_on_seed=13, fault=DeviceLostError)))
    await engine.start(on_failure=lambda reason: told.append("the worker"))
    engine.take(0, Sampling(), lambda error: told.append(str(error)), "anyone")
    steps = (np.zeros((3, 8), np.int32), np.zeros(3, np.int32), np.zeros((3, 8), np.int32))
    rebuilt = HistoryTokens(3, *steps) if lost_in == "a rebuild" else None
    last = engine.take(
        0 if lost_in == "a step" else 13, Sampling(), lambda error: told.append(str(error)), "me", rebuilt
    )
    if rebuilt is None:
        engine.submit(last, 0, np.full(8, 2000, np.int32))
    assert await asyncio.wait_for(engine.failed(), 10) == "the stub was told to fail"
    elsewhere = "the stub was told to fail: connect to another worker"
    if rebuilt is None:
        assert told == ["the worker", elsewhere, elsewhere]
    else:
        assert told == ["the worker", elsewhere]
        with pytest.raises(UnavailableError, match=elsewhere):
            await last.ready
    with pytest.raises(UnavailableError, match=elsewhere):
        take(engine)
    assert engine.stuck() == "the stub was told to fail"
    await engine.stop()
