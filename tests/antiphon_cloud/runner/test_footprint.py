"""Bytes that a model takes, foretold and counted."""

from pathlib import Path

import pytest
import torch

from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner import footprint as module
from antiphon_cloud.runner.footprint import check_fits, footprint, free_bytes
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import GOLDEN

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_7b_in_int8_takes_what_the_issue_says() -> None:
    size = footprint(LMConfig(), select(CUDA, torch.bfloat16, int8=True), None)
    assert round(size.matrices / 1e9, 1) == 7.4
    assert round(size.session / 1e9, 2) == 1.57


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_what_loading_allocates(dtype: torch.dtype) -> None:
    directory = ModelDirectory.open(GOLDEN / "moshi-tiny")
    size = footprint(directory.config.lm, select(CPU, dtype, int8=False), None)
    runner = ModelRunner.load(directory, 3, dtype, CPU)
    assert sum(p.nbytes for p in runner.ops.model.parameters()) == size.matrices + size.tables
    assert sum(t.nbytes for t in runner.tensors) == pytest.approx(3 * size.session, rel=0.01)


def test_too_little_memory_is_refused_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 12_000_000_000)
    needed = footprint(LMConfig(), select(CPU, torch.bfloat16, int8=True), torch.bfloat16)
    check_fits(needed, 2, CPU)
    with pytest.raises(ConfigError, match=r"needs 13\.\d GB with 3 slots .* 12\.0 GB are free on cpu"):
        check_fits(needed, 3, CPU)


def test_on_a_gpu_a_spare_row_must_fit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = footprint(LMConfig(), select(CUDA, torch.bfloat16, int8=True), None)
    monkeypatch.setattr(module, "free_bytes", lambda device: needed.total(3))
    check_fits(needed, 3, CPU)
    check_fits(needed, 2, CUDA)
    with pytest.raises(ConfigError, match=r"with 3 slots and a spare one .* free on cuda") as raised:
        check_fits(needed, 3, CUDA)
    assert f"needs {needed.total(4) / 1e9:.1f} GB" in str(raised.value)


def test_nothing_is_loaded_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 1000)
    monkeypatch.setattr("antiphon_cloud.runner.runner.load_model", lambda *args: pytest.fail("it was loaded"))
    with pytest.raises(ConfigError, match="take fewer slots"):
        ModelRunner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), 1, torch.float32, CPU)


def test_missing_weights_are_told_before_missing_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 1000)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: no such file"):
        ModelRunner.load(ModelDirectory.open(tmp_path), 1, torch.float32, CPU)


def test_this_machine_has_memory() -> None:
    assert 1e8 < free_bytes(CPU) < 1e15
