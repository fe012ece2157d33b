"""The whole compiled step: torch's tokens, and the same bits with whatever instructions."""

import ctypes
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.backends.cpu.library import FLAGS, SOURCE, find_compiler, library, load, processor_features
from antiphon_cloud.backends.cpu.ops import CpuOps
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import allocate_ring
from antiphon_cloud.model.layers import rope
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.sampling import noise_keys, sample
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import MICRO, compiled_ops, in_int8, random_model
from tests.support.native import needs_library

pytestmark = needs_library

WARM = Sampling(0.7, 5, 0.8, 12)
WIDE = replace(MICRO, dim=160, num_heads=2, depformer_dim=96)  # rows longer than any register, and no multiple of one
INSTRUCTIONS = {"any x86-64": [], "AVX2": ["-mavx2"], "no processor's own": ["-DANTIPHON_PLAIN"]}


def definition(config: LMConfig) -> Ops:
    """The weights of `compiled_ops`, stepped by torch."""
    return Ops(in_int8(random_model(config)))


def runner(ops: Ops, slots: int, kv_dtype: torch.dtype | None = None) -> ModelRunner:
    config = ops.model.config
    spec = ModelSpec("micro", "moshi", 2, 3, config.card, config.text_card, 2, config.context, WARM, "int8", True)
    made = ModelRunner(ops, slots, spec, kv_dtype)
    for slot in range(slots):
        made.reset(slot, slot, Sampling(0.0, 5, 0.0, 12) if slot == 1 else WARM)
    return made


def conversation(ops: Ops, kv_dtype: torch.dtype | None = None) -> list[np.ndarray]:
    """Text logits and tokens of ten steps of three sessions in one batch."""
    made, rng, told = runner(ops, 3, kv_dtype), np.random.default_rng(0), []
    for _ in range(10):
        result = made.step([2, 0, 1], rng.integers(0, ops.model.config.card, (3, 2), np.int32))
        told.append(np.column_stack((made.text_logits, result.text, result.codes)))
    return told


@pytest.mark.parametrize("rank", [None, 4])
def test_a_step_gives_torchs_tokens_and_logits(rank: int | None) -> None:
    config = replace(MICRO, depformer_low_rank_embeddings=rank)
    for wanted, found in zip(conversation(definition(config)), conversation(compiled_ops(config, 2)), strict=True):
        np.testing.assert_array_equal(found[:, MICRO.text_card :], wanted[:, MICRO.text_card :])
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def near_the_end_of_the_ring(ops: Ops, steps: int) -> ModelRunner:
    """A runner whose session has taken so many steps, by the way in which a session is rebuilt."""
    random, made = np.random.default_rng(1), runner(ops, 1)
    tokens = random.integers(0, MICRO.text_card, (steps, 1 + MICRO.n_q), np.int32)
    past = HistoryTokens(steps, tokens[:, -MICRO.user_codebooks :], tokens[:, 0], tokens[:, 1 : 1 + MICRO.dep_q])
    rebuild = made.resume(0, 0, WARM, past)
    while rebuild.left:
        rebuild.advance(500)
    return made


def test_a_session_that_runs_on_beyond_its_context_has_torchs_tokens() -> None:
    config = replace(MICRO, context=3000, num_layers=1)
    torchs, ours = (near_the_end_of_the_ring(ops, 2990) for ops in (definition(config), compiled_ops(config, 2)))
    for frame in np.random.default_rng(0).integers(0, MICRO.card, (25, 1, 2), np.int32):
        wanted, found = torchs.step([0], frame), ours.step([0], frame)
        np.testing.assert_array_equal(found.text, wanted.text)
        np.testing.assert_array_equal(found.codes, wanted.codes)
        np.testing.assert_allclose(ours.text_logits, torchs.text_logits, atol=1e-4)


def test_tables_of_another_kind_are_left_to_torch() -> None:
    torchs, ours = definition(MICRO), compiled_ops(MICRO, 2)
    for model in (torchs.model, ours.model):
        for table in (model.text_emb, *model.emb, model.depformer_text_emb, *model.depformer_emb):
            table.to(torch.float16)
    compiled = library()
    assert compiled is not None
    ours = CpuOps(ours.model, compiled)
    for wanted, found in zip(conversation(torchs), conversation(ours), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.5])
@pytest.mark.parametrize(("cardinality", "top_k"), [(24, 5), (24, 500), (2048, 250), (32000, 25), (32000, 1)])
def test_a_draw_is_torchs(temperature: float, cardinality: int, top_k: int) -> None:
    ours, rows = compiled_ops(MICRO, 1), 200
    logits = 4 * torch.randn(rows, cardinality, generator=torch.Generator().manual_seed(top_k))
    keys = noise_keys(torch.tensor(7), torch.arange(rows), torch.tensor(1))
    columns = torch.full((rows,), temperature), torch.full((rows,), top_k)
    wanted = sample(logits, keys, *columns, max_top_k=500)
    assert torch.equal(ours.draw(logits, keys, *columns, 500), wanted)
    assert len(set(wanted.tolist())) > 10


def test_of_equal_logits_the_first_are_kept() -> None:
    ours, rows = compiled_ops(MICRO, 1), 400
    logits = torch.zeros(rows, 40)
    logits[:, 7] = -1.0
    keys = noise_keys(torch.tensor(7), torch.arange(rows), torch.tensor(1))
    drawn = ours.draw(logits, keys, torch.ones(rows), torch.full((rows,), 9), 500)
    assert set(drawn.tolist()) == {0, 1, 2, 3, 4, 5, 6, 8, 9}


@pytest.mark.parametrize("value", [torch.nan, -torch.nan, torch.inf, -torch.inf])
def test_a_draw_from_no_numbers_is_a_token_all_the_same(value: float) -> None:
    ours = compiled_ops(MICRO, 1)
    logits = torch.full((3, 24), value)
    logits[1, 5] = 2.0
    drawn = ours.draw(logits, torch.arange(3), torch.tensor([0.8, 0.8, 0.0]), torch.tensor([1, 12, 3]), 500)
    assert ((drawn >= 0) & (drawn < 24)).all()


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_other_instructions_give_the_same_bits(instructions: str, tmp_path: Path) -> None:
    if instructions == "AVX2" and not any(" avx2 " in line for line in processor_features()):
        pytest.skip("this processor has no AVX2")
    path = tmp_path / "step.so"
    quickly = [*FLAGS, "-O1", "-w"]  # compiled in a third of the time; what optimizes may not change a bit either
    command = [find_compiler(), *quickly, *INSTRUCTIONS[instructions], "-o", str(path), str(SOURCE / "step.cpp")]
    subprocess.run(command, check=True)
    other = load(path)

    def run(library: ctypes.CDLL | None) -> list[np.ndarray]:
        return [
            row
            for digits in (1, 2)
            for kv_dtype in (torch.float32, torch.bfloat16, torch.int8)
            for row in conversation(compiled_ops(WIDE, digits, library), kv_dtype)
        ]

    np.testing.assert_array_equal(run(other), run(library()))
    assert library() is not other


@pytest.mark.parametrize(("digits", "error"), [(1, 3e-3), (2, 1e-5)])
@pytest.mark.parametrize("kv_dtype", [torch.float32, torch.bfloat16, torch.int8, torch.float16])
def test_layers_step_as_torchs_do_past_the_end_of_the_ring(kv_dtype: torch.dtype, digits: int, error: float) -> None:
    config = replace(MICRO, dim=80, num_heads=2, context=9)
    torchs, ours = (definition(config), compiled_ops(config, digits))
    rings = [allocate_ring(config, 4, kv_dtype, torch.device("cpu")) for _ in range(2)]
    rng = torch.Generator().manual_seed(2)
    slots, steps = [3, 0, 2], [0, 5, 8]
    for _ in range(14):
        x = torch.randn(3, 1, 80, generator=rng)
        rotation = rope(torch.tensor(steps)[:, None], 40, config.max_period)
        wanted, found = (
            ops.layers(ops.model.transformer, x, (0,), rotation, ring.ragged(slots, steps))
            for ops, ring in zip((torchs, ours), rings, strict=True)
        )
        tolerance = 0.05 if kv_dtype != torch.float32 else error  # an entry near a rounding's edge may fall either way
        assert (found - wanted).abs().max() < tolerance * wanted.abs().max()
        steps = [step + 1 for step in steps]
    assert not rings[1].keys[:, 1].any()  # a slot that did not step


def test_rows_of_one_slot_see_each_other_in_turn_and_nothing_before_the_first_step_that_counts() -> None:
    config = replace(MICRO, dim=80, context=9)
    torchs, ours = (definition(config), compiled_ops(config, 2))
    rings = [allocate_ring(config, 2, torch.float32, torch.device("cpu")) for _ in range(2)]
    rng = torch.Generator().manual_seed(2)
    for start in range(0, 24, 4):
        x, steps = torch.randn(4, 1, 80, generator=rng), list(range(start, start + 4))
        rotation = rope(torch.tensor(steps)[:, None], 40, config.max_period)
        wanted, found = (
            ops.layers(ops.model.transformer, x, (0,), rotation, ring.ragged([1] * 4, steps, first=max(0, start - 3)))
            for ops, ring in zip((torchs, ours), rings, strict=True)
        )
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
