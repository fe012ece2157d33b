"""Bytes that a model takes, foretold and counted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner import card
from antiphon_cloud.runner import footprint as module
from antiphon_cloud.runner.card import Holder
from antiphon_cloud.runner.footprint import HEADROOM, check_fits, footprint, memory, pool_that_fits
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import GOLDEN
from tools.gpu.configs import HIBIKI_ZERO_3B

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_7b_in_int8_takes_what_the_issue_says() -> None:
    size = footprint(LMConfig(), select(CUDA, torch.bfloat16, int8=True), None)
    assert round(size.matrices / 1e9, 1) == 7.4
    assert round(size.session / 1e9, 2) == 1.57


def test_heads_that_share_keys_and_values_halve_a_session() -> None:
    """hibiki-zero-3b's 28 layers of 8 such heads of 128, 3,000 steps."""
    size = footprint(HIBIKI_ZERO_3B, select(CUDA, torch.bfloat16, int8=True), None)
    alone = footprint(replace(HIBIKI_ZERO_3B, kv_repeat=1), select(CUDA, torch.bfloat16, int8=True), None)
    assert size.session - size.row == 28 * 2 * 8 * 128 * 3000 * 2
    assert alone.session - alone.row == 2 * (size.session - size.row)


@pytest.mark.parametrize("case", ["moshi-tiny", "hibiki-zero-tiny"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_what_loading_allocates(dtype: torch.dtype, case: str) -> None:
    directory = ModelDirectory.open(GOLDEN / case)
    size = footprint(directory.config.lm, select(CPU, dtype, int8=False), None)
    runner = ModelRunner.load(directory, 3, dtype, CPU)
    assert sum(p.nbytes for p in runner.ops.model.parameters()) == size.matrices + size.tables
    shared = 2 * 8 * runner.config.streams  # of the slots: delays and initial tokens
    assert sum(t.nbytes for t in runner.tensors) == 3 * size.session - 2 * shared


def test_too_little_memory_is_refused_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory", lambda device: (12_000_000_000, 64_000_000_000))
    needed = footprint(LMConfig(), select(CPU, torch.bfloat16, int8=True), torch.bfloat16)
    check_fits(needed, 2, CPU)
    with pytest.raises(ConfigError, match=r"needs 13\.\d GB with 3 slots .* 12\.0 GB are free on cpu"):
        check_fits(needed, 3, CPU)


SEVEN_B = footprint(LMConfig(), select(CUDA, torch.bfloat16, int8=True), None)
CONTEXT = LMConfig().context


def gpu_with(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    monkeypatch.setattr(module, "memory", lambda device: (int(gigabytes * 1e9), int(gigabytes * 1e9)))
    monkeypatch.setattr(card, "name", lambda device: "NVIDIA A10G")


def test_a_page_of_the_7b_holds_twenty_seconds_in_134_mb() -> None:
    assert round(SEVEN_B.page / 1e6) == 134
    assert SEVEN_B.page / 256 == (SEVEN_B.session - SEVEN_B.row) / CONTEXT


@pytest.mark.parametrize("promise", [None, 700, 1])
def test_on_a_gpu_slots_share_what_is_free_beside_the_weights(
    promise: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_with(monkeypatch, 24)
    shape = pool_that_fits(SEVEN_B, CONTEXT, 6, CUDA, promise)
    held = SEVEN_B.matrices + SEVEN_B.tables + 7 * SEVEN_B.row + (shape.pages + 1) * SEVEN_B.page
    assert 24e9 - SEVEN_B.page * HEADROOM < HEADROOM * held <= 24e9 or shape.pages == 6 * 12
    assert shape.promised == {None: 12, 700: 3, 1: 1}[promise]


def test_on_a_gpu_whole_contexts_in_all_slots_take_no_more_than_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_with(monkeypatch, 80)
    assert pool_that_fits(SEVEN_B, CONTEXT, 6, CUDA, 256).pages == 6 * 12


def test_on_a_gpu_slots_whose_promise_does_not_fit_are_refused_with_the_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu_with(monkeypatch, 24)
    with pytest.raises(
        ConfigError, match=r"needs 25\.\d GB with 10 sessions of 240 s \(1\.61 GB each\), and NVIDIA A10G has 24\.0 GB"
    ):
        pool_that_fits(SEVEN_B, CONTEXT, 10, CUDA, None)
    assert pool_that_fits(SEVEN_B, CONTEXT, 30, CUDA, 750).promised == 3
    with pytest.raises(ConfigError, match=r"with 40 sessions of 61 s .* a shorter --kv-promise"):
        pool_that_fits(SEVEN_B, CONTEXT, 40, CUDA, 750)


def test_on_a_gpu_one_whole_context_must_fit_for_a_session_that_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_with(monkeypatch, 9.5)
    with pytest.raises(ConfigError, match=r"with one session's whole context of 240 s \(1\.61 GB each\)"):
        pool_that_fits(SEVEN_B, CONTEXT, 2, CUDA, 1)


def test_a_promise_is_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--kv-promise is for --device cuda"):
        ModelRunner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), 1, torch.float32, CPU, promise=10)


@pytest.mark.parametrize("known", [True, False])
def test_who_holds_a_cards_memory_is_told_where_all_of_it_would_do(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory", lambda device: (10_000_000_000, 85_000_000_000))
    monkeypatch.setattr(card, "name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(card, "holders", lambda device: [Holder("python3", 42, 60 * 10**9)] * known)
    with pytest.raises(ConfigError) as raised:
        pool_that_fits(SEVEN_B, CONTEXT, 16, CUDA, None)
    who = "python3 (process 42, 60.0 GB)" if known else "other processes hold the rest"
    assert f"10.0 GB of NVIDIA H100's 85.0 are free: {who}; end them, or take fewer slots" in str(raised.value)


def test_nothing_is_loaded_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory", lambda device: (1000, 1000))
    monkeypatch.setattr("antiphon_cloud.runner.runner.load_model", lambda *args: pytest.fail("it was loaded"))
    with pytest.raises(ConfigError, match="take a smaller model, or --quantize int8"):
        ModelRunner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), 1, torch.float32, CPU)


def test_missing_weights_are_told_before_missing_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory", lambda device: (1000, 1000))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: no such file"):
        ModelRunner.load(ModelDirectory.open(tmp_path), 1, torch.float32, CPU)


def test_this_machine_has_memory() -> None:
    free, of_all = memory(CPU)
    assert 1e8 < free <= of_all < 1e15
