"""Sessions that share a batch: each gives the tokens that it gives alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.spec import GREEDY, Sampling
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import GOLDEN, MICRO, expected, micro_runner

SLOTS = 5
WARM = Sampling(0.9, 8, 1.1, 16)


def user_frame(seed: int, step: int) -> npt.NDArray[np.int32]:
    """What the user of a session says at a step."""
    return np.random.default_rng((seed, step)).integers(0, MICRO.card, MICRO.user_codebooks, dtype=np.int32)


@dataclass
class Talk:
    """A session under way in a slot, and all that it was answered."""

    seed: int
    steps: int = 0

    def sampling(self) -> Sampling:
        return GREEDY if self.seed % 4 == 0 else WARM


class Alone:
    """What sessions say with a runner to themselves; remembered, as tests ask often."""

    def __init__(self) -> None:
        self._runner = micro_runner(1)
        self._told: dict[int, tuple[list[list[int]], list[npt.NDArray[np.float32]]]] = {}

    def tokens(self, seed: int, steps: int) -> tuple[list[list[int]], list[npt.NDArray[np.float32]]]:
        tokens, logits = self._told.get(seed, ([], []))
        if len(tokens) < steps:
            tokens, logits = [], []
            self._runner.reset(0, seed, Talk(seed).sampling())
            for step in range(max(steps, 12)):
                result = self._runner.step([0], user_frame(seed, step)[None])
                tokens.append([int(result.text[0]), *result.codes[0].tolist()])
                logits.append(self._runner.text_logits[0])
            self._told[seed] = tokens, logits
        return tokens, logits


ALONE = Alone()
SHARED = micro_runner(SLOTS)

events = st.lists(
    st.tuples(st.sets(st.integers(0, SLOTS - 1), min_size=1), st.sets(st.integers(0, SLOTS - 1), max_size=1)),
    min_size=5,
    max_size=25,
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(events=events, first_seed=st.integers(0, 40))
def test_sessions_are_the_same_alone_and_among_others_that_come_and_go(
    events: list[tuple[set[int], set[int]]], first_seed: int
) -> None:
    talks = [Talk(first_seed + slot) for slot in range(SLOTS)]
    for slot, talk in enumerate(talks):
        SHARED.reset(slot, talk.seed, talk.sampling())
    for stepping, restarting in events:
        for slot in restarting:
            talks[slot] = Talk((talks[slot].seed + SLOTS) % 47)
            SHARED.reset(slot, talks[slot].seed, talks[slot].sampling())
        slots = sorted(stepping, key=lambda slot: (slot * 3) % SLOTS)  # any order will do
        frames = np.stack([user_frame(talks[slot].seed, talks[slot].steps) for slot in slots])
        result = SHARED.step(slots, frames)
        for row, slot in enumerate(slots):
            talk = talks[slot]
            tokens, logits = ALONE.tokens(talk.seed, talk.steps + 1)
            assert [int(result.text[row]), *result.codes[row].tolist()] == tokens[talk.steps]
            np.testing.assert_array_equal(SHARED.text_logits[row], logits[talk.steps])  # to the bit
            talk.steps += 1


def test_a_golden_session_is_exact_among_others() -> None:
    wanted = expected("moshi-tiny")
    runner = ModelRunner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), 3, torch.float32, "cpu")
    runner.reset(2, 0, GREEDY)
    rng = np.random.default_rng(0)
    for step, frame in enumerate(wanted["user_codes"][:60]):
        others = [slot for slot in (0, 1) if rng.random() < 0.5]
        for slot in others:
            if rng.random() < 0.2:
                runner.reset(slot, step, runner.spec.sampling)
        noise = rng.integers(0, 2048, (len(others), 8), dtype=np.int32)
        result = runner.step([*others, 2], np.concatenate((noise, frame[None])))
        if step >= runner.spec.delay_steps:
            np.testing.assert_array_equal([result.text[-1], *result.codes[-1]], wanted["tokens"][step - 1])


@pytest.mark.parametrize("case", ["moshi-tiny", "hibiki-zero-tiny"])
@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_logits_are_the_same_to_the_bit_whatever_the_batch_and_its_threads(
    threads: int, quantize: str, case: str
) -> None:
    # wide enough that BLAS and attention would split the work by thread
    directory = ModelDirectory.open(GOLDEN / case)
    runners = [ModelRunner.load(directory, slots, torch.float32, "cpu", quantize=quantize) for slots in (1, 2, 5)]
    user = np.random.default_rng(0).integers(0, 2048, (12, 5, 8), dtype=np.int32)
    torch.set_num_threads(threads)
    try:
        for runner in runners:
            for slot in range(runner.slots):
                runner.reset(slot, slot, runner.spec.sampling)
        for frames in user:
            results = [runner.step(range(runner.slots), frames[: runner.slots]) for runner in runners]
            for runner, result in zip(runners, results, strict=True):
                np.testing.assert_array_equal(result.codes[0], results[0].codes[0])
                np.testing.assert_array_equal(runner.text_logits[0], runners[0].text_logits[0])
    finally:
        torch.set_num_threads(1)


def state_of(runner: ModelRunner, slot: int) -> Iterator[torch.Tensor]:
    state = runner.state
    yield from (state.tokens[slot], state.offsets[slot], state.ring.keys[:, slot], state.ring.values[:, slot])


def test_a_slot_that_does_not_step_keeps_every_bit() -> None:
    runner = micro_runner(4)
    for slot in range(4):
        runner.reset(slot, slot, WARM)
    for step in range(9):  # the ring of 6 has wrapped
        runner.step(range(4), np.stack([user_frame(slot, step) for slot in range(4)]))
    before = [tensor.clone() for tensor in state_of(runner, 1)]
    for step in range(9):
        runner.step([0, 3], np.stack([user_frame(slot, step) for slot in (0, 3)]))
    assert all(torch.equal(a, b) for a, b in zip(before, state_of(runner, 1), strict=True))


def test_a_reset_slot_remembers_nothing() -> None:
    runner = micro_runner(2)
    runner.reset(1, 3, WARM)
    for step in range(9):
        runner.step([1], user_frame(3, step)[None])
    with torch.inference_mode():
        runner.state.ring.keys[:, 1] = torch.nan  # not even what a broken step left
        runner.state.ring.values[:, 1] = torch.nan
    runner.reset(1, 5, WARM)
    tokens, logits = ALONE.tokens(5, 9)
    for step in range(9):
        result = runner.step([1], user_frame(5, step)[None])
        assert [int(result.text[0]), *result.codes[0].tolist()] == tokens[step]
        np.testing.assert_array_equal(runner.text_logits[0], logits[step])


def test_a_session_whose_logits_are_no_numbers_is_told_from_the_others() -> None:
    runner = micro_runner(3)
    for slot in range(3):
        runner.reset(slot, slot + 1, WARM)
    for step in range(8):
        if step == 4:
            with torch.inference_mode():
                runner.state.ring.values[0, 1, 0, 2, 0] = torch.nan
        result = runner.step(range(3), np.stack([user_frame(slot + 1, step) for slot in range(3)]))
        assert result.finite.tolist() == [True, step < 4, True]
        for slot in (0, 2):
            assert [int(result.text[slot]), *result.codes[slot].tolist()] == ALONE.tokens(slot + 1, 8)[0][step]


def test_output_is_held_back_by_the_delays() -> None:
    runner = micro_runner(2)
    runner.reset(0, 1, WARM)
    held = [runner.step([0], user_frame(1, step)[None]) for step in range(4)]
    assert [bool((r.text == -2).all() and (r.codes == -2).all()) for r in held] == [True, True, False, False]
    assert held[3].text.dtype == held[3].codes.dtype == np.int32
    assert held[3].codes.shape == (1, 3)
    assert 0 <= held[3].codes.min() <= held[3].codes.max() < MICRO.card


def test_seeds_matter_and_sampling_is_the_slots_own() -> None:
    runner = micro_runner(3)
    for slot, (seed, sampling) in enumerate([(1, WARM), (2, WARM), (2**64 - 1, GREEDY)]):
        runner.reset(slot, seed, sampling)
    results = [runner.step([0, 1, 2], np.repeat(user_frame(0, step)[None], 3, 0)) for step in range(12)]
    codes = np.stack([result.codes for result in results[2:]], 1)  # [3, T, K]
    assert (codes[0] != codes[1]).any()
    assert (codes[0] != codes[2]).any()


def test_a_step_computes_no_more_rows_than_step(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = micro_runner(16)
    batches = []
    embed = runner.ops.embed

    def watched(tokens: torch.Tensor) -> torch.Tensor:
        batches.append(len(tokens))
        return embed(tokens)

    monkeypatch.setattr(runner.ops, "embed", watched)
    for slots in ([0], [15], [0, 9], [3, 4, 14]):
        runner.step(slots, np.zeros((len(slots), 2), np.int32))
    assert batches == [1, 1, 2, 3]


def test_no_buffer_ever_moves() -> None:
    runner = micro_runner(4)
    before = [tensor.data_ptr() for tensor in runner.tensors]
    for step in range(14):  # the ring of 6 wraps, sessions join and leave
        if step % 5 == 0:
            runner.reset(step % 4, step, WARM)
        slots = [slot for slot in range(4) if (slot + step) % 3]
        runner.step(slots, np.stack([user_frame(slot, step) for slot in slots]))
        assert [tensor.data_ptr() for tensor in runner.tensors] == before


def test_bfloat16_steps_too() -> None:
    runner = ModelRunner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), 2, torch.bfloat16, "cpu")
    runner.reset(0, 0, GREEDY)
    for frame in expected("moshi-tiny")["user_codes"][:3]:
        result = runner.step([0], frame[None])
    assert runner.spec.weights == "bfloat16"
    assert 0 <= result.codes.min() <= result.codes.max() < 2048
    assert np.isfinite(runner.text_logits).all()


def test_the_spec_says_what_config_json_says() -> None:
    runner = ModelRunner.load(ModelDirectory.open(GOLDEN / "stt-tiny"), 1, torch.float32, "cpu")
    spec = runner.spec
    assert (spec.name, spec.model_type, spec.weights) == ("stt-tiny", "stt", "float32")
    assert (spec.user_codebooks, spec.model_codebooks, spec.delay_steps, spec.context_steps) == (8, 0, 0, 40)
    assert spec.sampling == Sampling(0.0, 50, 0.0, 250)
    assert (spec.silence_before_ms, spec.silence_after_ms, spec.text_delay_ms) == (0, 1500, 500)
    assert spec.hears_pauses
    result = runner.step([0], np.zeros((1, 8), np.int32))
    assert result.codes.shape == (1, 0)
    assert runner.extra_heads.shape == (1, 4, 6)
    np.testing.assert_allclose(runner.extra_heads.sum(-1), 1, rtol=1e-6)
