"""What is kept of prompts, and what a session gets of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from antiphon.history import HistoryTokens
from antiphon.spec import GREEDY
from antiphon_cloud.checkpoint.config_file import parse_config
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import allocate_ring
from antiphon_cloud.runner.prompt_cache import PromptCache
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.runner.settings import SessionSettings
from tests.support.language_models import MICRO, micro_runner
from tests.support.told_models import HIBIKI

STEPS, AFTER = 5, 6
ENTRY = torch.zeros(10, dtype=torch.uint8)
ROOMY = LMConfig(**{**{f: getattr(MICRO, f) for f in MICRO.__dataclass_fields__}, "context": 24})


def prompt(runner: ModelRunner, seed: int = 0) -> HistoryTokens:
    spec, random = runner.spec, np.random.default_rng(seed)
    return HistoryTokens(
        STEPS,
        random.integers(0, spec.cardinality, (STEPS, spec.user_codebooks), dtype=np.int32),
        random.integers(0, spec.text_cardinality, STEPS, dtype=np.int32),
        random.integers(0, spec.cardinality, (STEPS, spec.model_codebooks), dtype=np.int32),
    )


def begin(runner: ModelRunner, slot: int, sha256: bytes = b"one", seed: int = 0) -> int:
    """Begins a session with a prompt; the steps that had to be computed."""
    settings = SessionSettings(prompt_steps=STEPS, prompt_sha256=sha256)
    prefill = runner.resume(slot, 7, GREEDY, prompt(runner, seed), settings)
    computed = prefill.left
    while prefill.left:
        prefill.advance(2)
    return computed


def go_on(runner: ModelRunner, slot: int) -> list[list[int]]:
    codes = np.random.default_rng(3).integers(0, 24, (AFTER, runner.spec.user_codebooks), dtype=np.int32)
    rows = []
    for frame in codes:
        result = runner.step([slot], frame[None])
        rows.append([int(result.text[0]), *result.codes[0].tolist(), *runner.text_logits[0].tolist()])
    return rows


@pytest.mark.parametrize("kv_dtype", [None, torch.bfloat16, torch.int8], ids=["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("static", [False, True], ids=["rings", "pages"])
def test_a_second_session_with_the_same_prompt_takes_only_its_hidden_steps_and_says_the_same(
    kv_dtype: torch.dtype | None, static: bool
) -> None:
    runner = micro_runner(2, ROOMY, kv_dtype, static=static, graphs=False, prompt_cache_bytes=1 << 20)
    assert begin(runner, 0) == STEPS
    first = go_on(runner, 0)
    assert begin(runner, 1) == MICRO.max_delay
    assert go_on(runner, 1) == first


def test_another_prompt_another_adapter_and_another_condition_are_computed() -> None:
    runner = micro_runner(2, ROOMY, prompt_cache_bytes=1 << 20)
    begin(runner, 0)
    assert begin(runner, 1, b"two", seed=1) == STEPS
    settings = SessionSettings(adapter="a", adapter_sha256=b"a", prompt_steps=STEPS, prompt_sha256=b"one")
    assert runner.resume(1, 7, GREEDY, prompt(runner), settings).left == STEPS


def test_another_condition_is_computed() -> None:
    runner = micro_runner(2, parse_config(HIBIKI, "").lm, prompt_cache_bytes=1 << 20)
    begin(runner, 0)
    settings = SessionSettings(conditions={"description": "good"}, prompt_steps=STEPS, prompt_sha256=b"one")
    assert runner.resume(1, 7, GREEDY, prompt(runner), settings).left == STEPS


def test_without_memory_for_them_prompts_are_computed_each_time() -> None:
    runner = micro_runner(2, ROOMY, prompt_cache_bytes=100)
    assert [begin(runner, 0), begin(runner, 1)] == [STEPS, STEPS]
    assert len(runner.prompts) == 0


def test_what_is_kept_takes_as_much_as_was_planned_for_it() -> None:
    runner = micro_runner(2, ROOMY, torch.int8, prompt_cache_bytes=1 << 20)
    begin(runner, 0)
    entries = runner.prompts.get((b"one", b"", ()))
    assert entries is not None
    assert runner.prompts.size_bytes == sum(tensor.nbytes for tensor in entries) == (STEPS - 2) * runner._step_bytes


def test_the_prompt_that_was_used_longest_ago_goes_first() -> None:
    cache = PromptCache(25)
    for key in "ab":
        assert cache.make_room(10)
        cache.put(key, [ENTRY])
    cache.get("a")
    assert cache.make_room(10)
    cache.put("c", [ENTRY])
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    assert cache.size_bytes == 20


def test_a_prompt_that_never_fits_drives_no_other_out() -> None:
    cache = PromptCache(25)
    cache.make_room(10)
    cache.put("a", [ENTRY])
    assert not cache.make_room(26)
    assert cache.get("a") is not None


def test_entries_are_copied_from_one_slot_to_another_and_no_others() -> None:
    ring = allocate_ring(ROOMY, 2, torch.float32, torch.device("cpu"))
    for tensor in ring.tensors:
        tensor.copy_(torch.arange(tensor.numel()).view_as(tensor))
    ring.paste(1, 5, ring.copy(0, 5))
    for tensor in ring.tensors:
        assert torch.equal(tensor[:, 0, :, :5], tensor[:, 1, :, :5])
        assert not torch.equal(tensor[:, 0, :, 5:], tensor[:, 1, :, 5:])
