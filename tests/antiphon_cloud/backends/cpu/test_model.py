"""The whole compiled step: torch's tokens, and the same bits with whatever instructions."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon.history import PastTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.backends.cpu.library import FLAGS, SOURCE, find_compiler, library, load, processor_features
from antiphon_cloud.backends.cpu.model import NativeLanguageModel
from antiphon_cloud.backends.cpu.modules import NativeTransformer
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.sampling import noise_keys, sample
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import MICRO, int8_models
from tests.support.native import needs_library

pytestmark = needs_library

WARM = Sampling(0.7, 5, 0.8, 12)
WIDE = replace(MICRO, dim=160, num_heads=2, depformer_dim=96)  # rows longer than any register, and no multiple of one
INSTRUCTIONS = {"any x86-64": [], "AVX2": ["-mavx2"], "no processor's own": ["-DANTIPHON_PLAIN"]}


def runner(model: LanguageModel, slots: int, kv_dtype: torch.dtype | None = None) -> ModelRunner:
    config = model.config
    spec = ModelSpec("micro", "moshi", 2, 3, config.card, config.text_card, 2, config.context, WARM, "int8", True)
    made = ModelRunner(model, slots, spec, kv_dtype)
    for slot in range(slots):
        made.reset(slot, slot, Sampling(0.0, 5, 0.0, 12) if slot == 1 else WARM)
    return made


def conversation(model: LanguageModel, kv_dtype: torch.dtype | None = None) -> list[np.ndarray]:
    """Text logits and tokens of ten steps of three sessions in one batch."""
    made, rng, told = runner(model, 3, kv_dtype), np.random.default_rng(0), []
    for _ in range(10):
        result = made.step([2, 0, 1], rng.integers(0, model.config.card, (3, 2), np.int32))
        told.append(np.column_stack((made.text_logits, result.text, result.codes)))
    return told


@pytest.mark.parametrize("rank", [None, 4])
def test_a_step_gives_torchs_tokens_and_logits(rank: int | None) -> None:
    torchs, ours = int8_models(replace(MICRO, depformer_low_rank_embeddings=rank), 2)
    assert isinstance(ours, NativeLanguageModel)
    assert isinstance(ours.transformer, NativeTransformer)
    assert isinstance(ours.depformer, NativeTransformer)
    for wanted, found in zip(conversation(torchs), conversation(ours), strict=True):
        np.testing.assert_array_equal(found[:, MICRO.text_card :], wanted[:, MICRO.text_card :])
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def near_the_end_of_the_ring(model: LanguageModel, steps: int) -> ModelRunner:
    """A runner whose session has taken so many steps, by the way in which a session is rebuilt."""
    random, made = np.random.default_rng(1), runner(model, 1)
    tokens = random.integers(0, MICRO.text_card, (steps, 1 + MICRO.n_q), np.int32)
    past = PastTokens(steps, tokens[:, -MICRO.user_codebooks :], tokens[:, 0], tokens[:, 1 : 1 + MICRO.dep_q])
    rebuild = made.rebuild(0, 0, WARM, past)
    while rebuild.left:
        rebuild.advance(500)
    return made


def test_a_session_that_runs_on_beyond_its_context_has_torchs_tokens() -> None:
    config = replace(MICRO, context=3000, num_layers=1)
    torchs, ours = (near_the_end_of_the_ring(model, 2990) for model in int8_models(config, 2))
    for frame in np.random.default_rng(0).integers(0, MICRO.card, (25, 1, 2), np.int32):
        wanted, found = torchs.step([0], frame), ours.step([0], frame)
        np.testing.assert_array_equal(found.text, wanted.text)
        np.testing.assert_array_equal(found.codes, wanted.codes)
        np.testing.assert_allclose(ours.text_logits, torchs.text_logits, atol=1e-4)


def test_tables_of_another_kind_are_left_to_torch() -> None:
    torchs, ours = int8_models(MICRO, 2)
    for model in (torchs, ours):
        for table in (model.text_emb, *model.emb, model.depformer_text_emb, *model.depformer_emb):
            table.to(torch.float16)
    ours = NativeLanguageModel(ours)
    for wanted, found in zip(conversation(torchs), conversation(ours), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.5])
@pytest.mark.parametrize(("cardinality", "top_k"), [(24, 5), (24, 500), (2048, 250), (32000, 25), (32000, 1)])
def test_a_draw_is_torchs(temperature: float, cardinality: int, top_k: int) -> None:
    ours, rows = int8_models(MICRO, 1)[1], 200
    logits = 4 * torch.randn(rows, cardinality, generator=torch.Generator().manual_seed(top_k))
    keys = noise_keys(torch.tensor(7), torch.arange(rows), torch.tensor(1))
    columns = torch.full((rows,), temperature), torch.full((rows,), top_k)
    wanted = sample(logits, keys, *columns, max_top_k=500)
    assert torch.equal(ours._draw(logits, keys, *columns, 500), wanted)
    assert len(set(wanted.tolist())) > 10


def test_of_equal_logits_the_first_are_kept() -> None:
    ours, rows = int8_models(MICRO, 1)[1], 400
    logits = torch.zeros(rows, 40)
    logits[:, 7] = -1.0
    keys = noise_keys(torch.tensor(7), torch.arange(rows), torch.tensor(1))
    drawn = ours._draw(logits, keys, torch.ones(rows), torch.full((rows,), 9), 500)
    assert set(drawn.tolist()) == {0, 1, 2, 3, 4, 5, 6, 8, 9}


@pytest.mark.parametrize("value", [torch.nan, -torch.nan, torch.inf, -torch.inf])
def test_a_draw_from_no_numbers_is_a_token_all_the_same(value: float) -> None:
    ours = int8_models(MICRO, 1)[1]
    logits = torch.full((3, 24), value)
    logits[1, 5] = 2.0
    drawn = ours._draw(logits, torch.arange(3), torch.tensor([0.8, 0.8, 0.0]), torch.tensor([1, 12, 3]), 500)
    assert ((drawn >= 0) & (drawn < 24)).all()


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_other_instructions_give_the_same_bits(
    instructions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if instructions == "AVX2" and not any(" avx2 " in line for line in processor_features()):
        pytest.skip("this processor has no AVX2")
    path = tmp_path / "step.so"
    quickly = [*FLAGS, "-O1", "-w"]  # compiled in a third of the time; what optimizes may not change a bit either
    command = [find_compiler(), *quickly, *INSTRUCTIONS[instructions], "-o", str(path), str(SOURCE / "step.cpp")]
    subprocess.run(command, check=True)
    other = load(path)

    def run() -> list[np.ndarray]:
        return [
            row
            for digits in (1, 2)
            for kv_dtype in (torch.float32, torch.bfloat16, torch.int8)
            for row in conversation(int8_models(WIDE, digits)[1], kv_dtype)
        ]

    wanted = run()
    for module in ("model", "modules"):
        monkeypatch.setattr(f"antiphon_cloud.backends.cpu.{module}.library", lambda: other)
    np.testing.assert_array_equal(run(), wanted)
    assert library() is not other
