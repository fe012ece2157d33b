"""What can be tested of the GPU's check without one: the model that it builds, and that its checks can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gpu_check
import random_checkpoint
from antiphon.spec import GREEDY
from antiphon_cloud.config import LMConfig
from antiphon_cloud.config_file import parse_config
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.runner import Runner
from tests.support.language_models import GOLDEN

TOOL = Path(__file__).parents[2] / "tools" / "gpu_check.py"


def test_a_random_checkpoint_loads_and_steps(tmp_path: Path) -> None:
    random_checkpoint.write(tmp_path / "model", json.loads((GOLDEN / "moshi-tiny/config.json").read_text()))
    runner = Runner.load(ModelDirectory.open(tmp_path / "model"), 1, torch.bfloat16, "cpu", quantize="int8")
    assert runner.spec.weights == "int8"
    runner.reset(0, 0, GREEDY)
    codes = {tuple(runner.step([0], torch.full((1, 8), step).numpy()).codes[0]) for step in range(6)}
    assert len(codes) > 3  # it says one thing after another
    assert runner.text_logits.std() > 0.1


def test_without_a_gpu_it_says_so_and_fails() -> None:
    blind = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False, env=blind)
    assert finished.returncode == 1
    assert "finds no NVIDIA GPU" in finished.stderr


def tiny(slots: int, quantize: str = "int8") -> Runner:
    return Runner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), slots, torch.bfloat16, "cpu", quantize=quantize)


def test_the_model_that_it_builds_is_the_7b() -> None:
    assert parse_config(random_checkpoint.CONFIGS["7b"], "7b").lm == LMConfig()


def test_the_same_model_passes() -> None:
    report = gpu_check.same_model(tiny(1), tiny(2), 8)
    assert "top-1 1.000, error 0.0000 text; top-1 1.000, error 0.0000 codes" in report


@pytest.mark.parametrize("part", ["text_linear", "linears.1"])
def test_another_model_fails(part: str) -> None:
    other = tiny(1, "none")
    for parameter in other.model.get_submodule(part).parameters():
        parameter.data.mul_(1.5)
    with pytest.raises(gpu_check.FailedError, match="errors must stay below"):
        gpu_check.same_model(tiny(1, "none"), other, 8)


def test_a_session_rebuilt_in_chunks_passes_and_one_that_is_not_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = tiny(2, "none")
    assert "rebuilt 30 steps in chunks of 16" in gpu_check.rebuilt(runner, steps=30, chunk=16)
    monkeypatch.setattr(runner, "prefill", lambda *args: None)
    with torch.inference_mode():
        runner._state.ring.keys[:, 1] = 0
        runner._state.ring.values[:, 1] = 0
    with pytest.raises(gpu_check.FailedError, match="must stay below"):
        gpu_check.rebuilt(runner, steps=30, chunk=16)


def test_logits_that_are_no_numbers_fail() -> None:
    runner = tiny(2, "none")
    runner.model.out_norm.alpha.data[..., 3] = np.nan
    with pytest.raises(gpu_check.FailedError, match="step 1 are no numbers"):
        gpu_check.time_steps(runner)


@pytest.mark.parametrize(
    ("card", "gb_s"),
    [("NVIDIA L4", 300), ("NVIDIA L40S", 864), ("NVIDIA A100-SXM4-80GB", 2039), ("NVIDIA H100 80GB HBM3", 3350)],
)
def test_the_peak_is_the_data_sheets(card: str, gb_s: float) -> None:
    assert gpu_check.peak_bandwidth(card) == pytest.approx(gb_s * 1e9)
    assert gpu_check.peak_bandwidth("NVIDIA Unheard-Of") is None
