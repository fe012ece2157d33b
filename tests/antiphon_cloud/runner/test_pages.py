"""Rings in pages from one pool, as a GPU has them: the tokens of rings that lie in one place each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.history import HistoryTokens
from antiphon.spec import GREEDY, Sampling
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.fake_cuda import Recorder, fake_cuda, static_runner
from tests.support.language_models import MICRO, micro_runner, random_model

WARM = Sampling(0.9, 8, 1.1, 16)
PAGE, SLOTS, CONTEXT = 3, 3, 11  # four pages a slot, of the last of which two entries are used
CONFIG = replace(MICRO, context=CONTEXT)
WHOLE = PoolShape.of(SLOTS, CONTEXT, PAGE, None)


def paged(
    pool: PoolShape = WHOLE, kv_dtype: torch.dtype | None = None, *, graphs: bool = False, config: LMConfig = CONFIG
) -> ModelRunner:
    runner = micro_runner(1, config)
    return static_runner(runner.ops, SLOTS, runner.spec, kv_dtype, graphs, pool)


def user_frames(count: int, seed: int = 0) -> npt.NDArray[np.int32]:
    return np.random.default_rng(seed).integers(0, MICRO.card, (count, MICRO.user_codebooks), np.int32)


def tokens(runner: ModelRunner, slot: int, frames: npt.NDArray[np.int32]) -> list[list[int]]:
    """What the slot's session is answered, frame by frame."""
    results = [runner.step([slot], frame[None]) for frame in frames]
    return [[int(result.text[0]), *result.codes[0].tolist()] for result in results]


def soil(runner: ModelRunner) -> None:
    """Leaves in all memory what must not be seen."""
    with torch.inference_mode():
        for tensor in runner.state.ring.tensors:
            tensor.fill_(torch.nan if tensor.is_floating_point() else 127)


def test_what_is_computed_to_warm_up_is_seen_by_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch)
    wanted, found = (paged() for _ in range(2))
    assert found.padded == (1, 2, 3)
    found.warm_up_prefill()
    for runner in (wanted, found):
        runner.reset(0, 7, WARM)
    assert tokens(found, 0, user_frames(14)) == tokens(wanted, 0, user_frames(14))


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "captured"])
@pytest.mark.parametrize("kv_dtype", [None, torch.int8], ids=["float", "int8"])
def test_sessions_that_come_and_go_draw_the_tokens_of_contiguous_rings(
    graphs: bool, kv_dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_cuda(monkeypatch)
    wanted, found = micro_runner(SLOTS, CONFIG, kv_dtype), paged(kv_dtype=kv_dtype, graphs=graphs)
    soil(found)
    random = np.random.default_rng(1)
    for slot in range(SLOTS):
        found.allow(slot, 0)
    steps = [0] * SLOTS
    for turn in range(120):
        for slot in range(SLOTS):
            if not steps[slot] or random.random() < 0.03:  # the ring of 11 wraps in between, or a session leaves early
                for runner in (wanted, found):
                    runner.allow(slot, 0)
                    runner.allow(slot, 1)
                    runner.reset(slot, turn, WARM)
                steps[slot] = 0
            elif steps[slot] % PAGE == 0:
                found.allow(slot, WHOLE.needed(steps[slot] + 1))  # as it grows
        slots = sorted(random.permutation(SLOTS)[: random.integers(1, SLOTS + 1)].tolist())
        codes = user_frames(len(slots), turn)
        results = [runner.step(slots, codes) for runner in (wanted, found)]
        np.testing.assert_array_equal(results[1].text, results[0].text)
        np.testing.assert_array_equal(results[1].codes, results[0].codes)
        assert results[1].finite.all()
        for slot in slots:
            steps[slot] += 1


@settings(max_examples=20, deadline=None, derandomize=True)
@given(steps=st.integers(0, 40), chunk=st.integers(1, 40), kv_dtype=st.sampled_from([None, torch.int8]))
def test_a_resumed_session_has_the_pages_of_its_history_and_draws_the_tokens_of_the_unbroken_one(
    steps: int, chunk: int, kv_dtype: torch.dtype | None
) -> None:
    frames = user_frames(50)
    alone = micro_runner(1, CONFIG, kv_dtype)
    alone.reset(0, 7, WARM)
    told = np.array(tokens(alone, 0, frames), np.int32)
    runner = paged(kv_dtype=kv_dtype)
    soil(runner)
    for slot in range(SLOTS):
        runner.allow(slot, 0)
    runner.allow(0, 2)  # others have pages before and after
    runner.allow(1, WHOLE.needed(steps))
    runner.allow(2, 3)
    past = HistoryTokens(steps, frames[:steps], told[:steps, 0], told[:steps, 1:])
    prefill = runner.resume(1, 7, WARM, past)
    while prefill.left:
        prefill.advance(chunk)
    for step in range(steps, 50):
        if step % PAGE == 0:
            runner.allow(1, WHOLE.needed(step + 1))
        assert tokens(runner, 1, frames[step : step + 1]) == [told[step].tolist()]


def shorter(window: int) -> ModelRunner:
    """A model that looks back no further than the window, and is the same else."""
    return micro_runner(1, CONFIG, ops=Ops(random_model(replace(CONFIG, context=window))))


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "captured"])
@pytest.mark.parametrize("pages", [1, 2, 3])
def test_a_session_whose_ring_is_closed_looks_back_as_far_as_its_pages_go(
    pages: int, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_cuda(monkeypatch)
    frames, window = user_frames(60), pages * PAGE
    model = shorter(window)
    model.reset(0, 3, WARM)
    runner = paged(PoolShape.of(SLOTS, CONTEXT, PAGE, promise=window), graphs=graphs)
    soil(runner)
    runner.reset(1, 3, WARM)
    assert runner.window(1) == window
    assert tokens(runner, 1, frames) == tokens(model, 0, frames)
    assert runner.window(1) == window


def test_a_closed_ring_is_resumed_into_as_few_pages() -> None:
    frames = user_frames(40)
    model = shorter(2 * PAGE)
    model.reset(0, 3, GREEDY)
    told = np.array(tokens(model, 0, frames), np.int32)
    runner = paged(PoolShape.of(SLOTS, CONTEXT, PAGE, promise=2 * PAGE))
    soil(runner)
    prefill = runner.resume(2, 3, GREEDY, HistoryTokens(30, frames[:30], told[:30, 0], told[:30, 1:]))
    while prefill.left:
        prefill.advance(25)
    assert tokens(runner, 2, frames[30:]) == told[30:].tolist()


def test_a_slot_that_grows_between_replays_is_seen_by_the_captured_graph_without_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_cuda(monkeypatch)
    runner = paged(PoolShape.of(SLOTS, CONTEXT, PAGE, promise=PAGE), graphs=True)
    before = [tensor.data_ptr() for tensor in runner.tensors]
    runner.allow(2, 0)
    with Recorder() as recorder:
        runner.allow(0, 2)
    assert not {"aten._local_scalar_dense.default", "aten.item.default"} & {str(f) for f, *_ in recorder.operations}
    assert [tensor.data_ptr() for tensor in runner.tensors] == before
    assert runner.state.ring.windows.tolist() == [2 * PAGE, PAGE, PAGE, PAGE]
    held = runner.state.ring.table.tolist()
    assert len(set(held[0][:2] + held[1][:1])) == 3
    assert held[2] == held[3] == [0] * 4  # a slot without pages, and padding, point to the spare one


def test_memory_is_that_of_the_pool_and_of_one_spare_page() -> None:
    ring = paged(PoolShape.of(SLOTS, CONTEXT, PAGE, promise=PAGE, pages=7)).state.ring
    assert ring.keys.shape == ring.values.shape == (2, 8, 2, PAGE, 8)
