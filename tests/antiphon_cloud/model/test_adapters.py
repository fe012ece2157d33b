"""Low-rank products beside the weights: as if they were merged, row by row."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from antiphon.history import HistoryTokens
from antiphon.spec import Sampling
from antiphon_cloud.model.adapters import NONE, AdapterRoom
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.adapters import adapter_tensors, fill, merge
from tests.support.language_models import MICRO, micro_runner, random_model

ROOM = AdapterRoom(3, 4)
DRAWN = Sampling(0.7, 5, 0.8, 12)
CHANGES = [{}, {"depformer_weights_per_step_schedule": (0, 1, 0)}, {"dep_q": 0, "extra_heads_num_heads": 2}]


def adapted_runner(slots: int = 3, config: LMConfig = MICRO, **options: Any) -> ModelRunner:
    """Places 0 and 2 hold adapters of rank 2 and 4."""
    model = random_model(config)
    fill(model, ROOM, {0: adapter_tensors(config, 2, seed=1), 2: adapter_tensors(config, 4, seed=2)})
    return micro_runner(slots, config, ops=Ops(model), **options)


def steps(runner: ModelRunner, slots: list[int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of text [count, n, V] and of codes, of the same user codes in every slot."""
    rng, text, codes = np.random.default_rng(0), [], []
    for _ in range(count):
        frame = rng.integers(0, runner.spec.cardinality, runner.spec.user_codebooks, np.int32)
        runner.step(slots, np.stack([frame] * len(slots)))
        text.append(runner.text_logits)
        codes.append(runner.audio_logits)
    return np.stack(text), np.stack(codes)


@pytest.mark.parametrize("changes", CHANGES, ids=["plain", "shared sets", "listens"])
@pytest.mark.parametrize("static", [False, True], ids=["ragged", "static"])
def test_each_row_of_a_batch_has_the_logits_of_its_own_merged_weights(changes: dict[str, object], static: bool) -> None:
    config = replace(MICRO, **changes)  # type: ignore[arg-type]
    places, count = [0, NONE, 2], 12
    runner = adapted_runner(config=config, static=static, graphs=False)
    for slot, place in enumerate(places):
        runner.reset(slot, slot, DRAWN)
        runner.adapt(slot, place)
    text, codes = steps(runner, [0, 1, 2], count)
    for slot, tensors in ((0, adapter_tensors(config, 2, seed=1)), (1, {}), (2, adapter_tensors(config, 4, seed=2))):
        alone = micro_runner(1, config, ops=Ops(merge(random_model(config), tensors)), static=static, graphs=False)
        alone.reset(0, slot, DRAWN)
        wanted_text, wanted_codes = steps(alone, [0], count)
        assert np.abs(text[:, slot] - wanted_text[:, 0]).max() < 1e-3
        assert codes.shape[2:] == wanted_codes.shape[2:]
        assert not codes.size or np.abs(codes[:, slot] - wanted_codes[:, 0]).max() < 1e-3


def test_a_row_comes_out_the_same_to_the_bit_whoever_shares_its_batch() -> None:
    together, alone = adapted_runner(), adapted_runner()
    for runner in (together, alone):
        for slot, place in enumerate((0, 2, NONE)):
            runner.reset(slot, slot, DRAWN)
            runner.adapt(slot, place)
    text, codes = steps(together, [0, 1, 2], 8)
    for slot in range(3):
        own_text, own_codes = steps(alone, [slot], 8)
        assert np.array_equal(text[:, slot], own_text[:, 0])
        assert np.array_equal(codes[:, slot], own_codes[:, 0])


def test_the_next_session_in_a_slot_has_no_adapter() -> None:
    runner, plain = adapted_runner(), micro_runner(3)
    runner.reset(0, 5, DRAWN)
    runner.adapt(0, 0)
    steps(runner, [0], 3)
    for each in (runner, plain):
        each.reset(0, 6, DRAWN)
    assert np.array_equal(steps(runner, [0], 4)[0], steps(plain, [0], 4)[0])


@pytest.mark.parametrize("static", [False, True], ids=["ragged", "static"])
def test_a_session_that_is_resumed_goes_on_with_its_adapter(static: bool) -> None:
    """With a prefill of most of its steps: what these leave depends on the adapter too."""
    runner, count = adapted_runner(static=static, graphs=False), 5
    rng = np.random.default_rng(3)
    frames = rng.integers(0, MICRO.card, (count + 4, 1, MICRO.user_codebooks), np.int32)
    runner.reset(0, 7, DRAWN)
    runner.adapt(0, 2)
    results = [runner.step([0], frame) for frame in frames[:count]]
    history = HistoryTokens(
        count,
        frames[:count, 0],
        np.concatenate([result.text for result in results]),
        np.concatenate([result.codes for result in results]),
    )
    prefill = runner.resume(1, 7, DRAWN, history)
    runner.adapt(1, 2)
    while prefill.left:
        prefill.advance(3)
    for frame in frames[count:]:
        runner.step([0], frame)
        wanted = runner.text_logits
        runner.step([1], frame)
        assert np.abs(runner.text_logits - wanted).max() < 1e-4
    if not static:
        assert np.array_equal(runner.text_logits, wanted)


def test_an_adapter_takes_the_place_of_a_larger_one() -> None:
    """Nothing of the larger one is left, in matrices that the smaller one does not adapt either."""
    model, config = random_model(MICRO), MICRO
    fill(model, ROOM, {0: adapter_tensors(config, 4, seed=1)})
    small = adapter_tensors(config, 1, seed=2, only="transformer")
    fill(model, ROOM, {0: small})
    found = micro_runner(1, ops=Ops(model))
    found.reset(0, 0, DRAWN)
    found.adapt(0, 0)
    wanted = micro_runner(1, ops=Ops(merge(random_model(config), small)))
    wanted.reset(0, 0, DRAWN)
    assert np.abs(steps(found, [0], 6)[1] - steps(wanted, [0], 6)[1]).max() < 1e-3


def test_tables_have_no_factors() -> None:
    model = random_model(replace(MICRO, depformer_low_rank_embeddings=4))
    model.make_room(ROOM, torch.float32)
    assert model.adapters is not None
    assert not [name for name in model.adapters.by_name if "emb" in name]
    assert "text_linear" in model.adapters.by_name
