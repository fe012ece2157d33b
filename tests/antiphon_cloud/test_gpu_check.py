"""What can be tested of the GPU's check without one: the model that it builds, and what it says here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

import random_checkpoint
from antiphon.spec import GREEDY
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
