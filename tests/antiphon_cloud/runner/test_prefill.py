"""A session rebuilt from its tokens goes on as if nothing had happened, to the bit where the numerics promise it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.history import History, HistoryTokens, fewest_steps
from antiphon.spec import GREEDY, Sampling
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.runner.prefill import history_steps
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import GOLDEN, micro_runner, relative_error

SEED = 7
STEPS = 150
AFTER = 5  # steps that are compared after a resume
WARM = Sampling(0.9, 8, 1.1, 16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower with two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Unbroken:
    """A conversation in slot 0 of a runner of two, and all that was said."""

    runner: ModelRunner
    sampling: Sampling
    user: npt.NDArray[np.int32]
    text: list[int]
    codes: list[npt.NDArray[np.int32]]
    logits: list[npt.NDArray[np.float32]]

    def history(self, steps: int) -> History:
        """What the edge has after `steps`."""
        spec = self.runner.spec
        history = History(spec, history_steps(self.runner.config))
        for step in range(steps):
            user = spec.user_packer.pack(self.user[step])
            if step < spec.delay_steps:
                history.append(user, None, b"")
            else:
                history.append(user, self.text[step], spec.model_packer.pack(self.codes[step]))
        return history

    def past(self, steps: int) -> HistoryTokens:
        return HistoryTokens.from_message(self.history(steps).to_message(), self.runner.spec, 1 << 20)


def hold(runner: ModelRunner, sampling: Sampling, steps: int = STEPS) -> Unbroken:
    spec = runner.spec
    user = np.random.default_rng(1).integers(0, spec.cardinality, (steps, spec.user_codebooks), dtype=np.int32)
    told = Unbroken(runner, sampling, user, [], [], [])
    runner.reset(0, SEED, sampling)
    for frame in user:
        result = runner.step([0], frame[None])
        told.text.append(int(result.text[0]))
        told.codes.append(result.codes[0])
        told.logits.append(runner.text_logits[0])
    return told


@cache
def unbroken(model: str, greedy: bool) -> Unbroken:
    if model == "micro":
        return hold(micro_runner(2), GREEDY if greedy else WARM)
    runner = ModelRunner.load(ModelDirectory.open(GOLDEN / model), 2, torch.float32, "cpu")
    return hold(runner, GREEDY if greedy else WARM)


def soil(runner: ModelRunner) -> None:
    """Leaves in slot 1 what must not be seen."""
    ring = runner.state.ring
    with torch.inference_mode():
        for entries in (ring.keys, ring.values):
            entries[:, 1] = torch.nan


def resume(told: Unbroken, steps: int, chunks: list[int]) -> None:
    """Rebuilds the session in slot 1 in chunks of those sizes, in turn."""
    soil(told.runner)
    rebuild = told.runner.resume(1, SEED, told.sampling, told.past(steps))
    turn = 0
    while rebuild.left:
        before = rebuild.left
        done = rebuild.advance(chunks[turn % len(chunks)])
        assert 0 < done <= chunks[turn % len(chunks)]
        assert rebuild.left == before - done
        turn += 1


@pytest.mark.parametrize("model", ["micro", "moshi-tiny", "stt-tiny", "moshi-tiny-q8", "hibiki-zero-tiny"])
@settings(max_examples=6, deadline=None, derandomize=True)
@given(steps=st.integers(0, STEPS - AFTER), greedy=st.booleans(), chunks=st.lists(st.integers(1, 60), min_size=1))
def test_the_tokens_after_a_resume_are_those_of_the_unbroken_run(
    model: str, steps: int, greedy: bool, chunks: list[int]
) -> None:
    told = unbroken(model, greedy)
    resume(told, steps, chunks)
    for step in range(steps, steps + AFTER):
        result = told.runner.step([1], told.user[step][None])
        assert int(result.text[0]) == told.text[step]
        np.testing.assert_array_equal(result.codes[0], told.codes[step])
        np.testing.assert_array_equal(told.runner.text_logits[0], told.logits[step])  # to the bit


def test_the_golden_conversation_resumes_at_every_step_around_the_models_edges() -> None:
    told = unbroken("moshi-tiny", greedy=False)
    config = told.runner.config
    reach = history_steps(config)
    for steps in (0, 1, 2, 3, config.context - 1, config.context, config.context + 1, reach - 1, reach, reach + 1):
        resume(told, steps, [16])
        for step in range(steps, steps + 3):
            result = told.runner.step([1], told.user[step][None])
            assert int(result.text[0]) == told.text[step]
            np.testing.assert_array_equal(result.codes[0], told.codes[step])


def test_a_model_whose_heads_share_keys_and_values_resumes_at_every_step() -> None:
    told = unbroken("hibiki-zero-tiny", greedy=False)
    for steps in range(2 * told.runner.config.context):  # the ring of 40 wraps
        resume(told, steps, [16])
        result = told.runner.step([1], told.user[steps][None])
        assert int(result.text[0]) == told.text[steps]
        np.testing.assert_array_equal(result.codes[0], told.codes[steps])
        np.testing.assert_array_equal(told.runner.text_logits[0], told.logits[steps])


def test_the_shortest_history_goes_on_without_a_trace_of_what_was_in_the_slot() -> None:
    told = unbroken("moshi-tiny", greedy=True)
    steps, fewest = 140, fewest_steps(told.runner.spec)
    whole = told.past(steps)
    past = HistoryTokens(steps, whole.user[-fewest:], whole.text[-fewest:], whole.codes[-fewest:])
    soil(told.runner)
    rebuild = told.runner.resume(1, SEED, told.sampling, past)
    while rebuild.left:
        rebuild.advance(64)
    for step in range(steps, steps + AFTER):
        assert told.runner.step([1], told.user[step][None]).finite.all()


@pytest.mark.parametrize("kv_dtype", [None, torch.int8])
def test_a_chunk_in_one_forward_leaves_what_steps_leave(kv_dtype: torch.dtype | None) -> None:
    directory = ModelDirectory.open(GOLDEN / "moshi-tiny")
    runner = ModelRunner.load(directory, 2, torch.bfloat16, "cpu", quantize="none", kv_dtype=kv_dtype)
    config = runner.config
    for steps in (20, 39, 70):  # the last wraps the ring of 40 within a chunk
        whole = hold(runner, GREEDY, steps)
        for slot, chunk in ((0, 1), (1, 33)):  # the same rebuild, step by step and in chunks
            rebuild = runner.resume(slot, SEED, GREEDY, whole.past(steps))
            while rebuild.left:
                rebuild.advance(chunk)
        ring = runner.state.ring
        for layer in range(config.num_layers):
            one, many = (ring.read(layer, slot, slice(0, min(steps, 40)), torch.float32) for slot in (0, 1))
            for a, b in zip(one, many, strict=True):
                assert relative_error(b.numpy(), a.numpy()) < 0.05  # bfloat16 adds in another order


def test_a_rebuild_leaves_the_other_sessions_every_bit() -> None:
    told = unbroken("moshi-tiny", greedy=False)
    told.runner.reset(0, SEED, told.sampling)
    rebuild = told.runner.resume(1, SEED, told.sampling, told.past(140))
    for step in range(40):
        if rebuild.left:
            rebuild.advance(5)
        result = told.runner.step([0], told.user[step][None])
        assert int(result.text[0]) == told.text[step]
        np.testing.assert_array_equal(told.runner.text_logits[0], told.logits[step])
