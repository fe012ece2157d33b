"""What a captured step launches and how long it should take: pinned, so that a kernel more is seen."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch

from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner.cost import GpuCost, cost
from antiphon_cloud.runner.gpus import GPUS, Hardware
from antiphon_cloud.runner.step_launches import step_launches
from tools.gpu.configs import CONFIGS, HIBIKI_ZERO_3B, SEVEN_B

PARTS = {"embedding": 1, "temporal": 163, "depformer": 256, "draws": 9, "glue": 5}
LAYER = {"norm_qkv_append": 1, "attend": 1, "linear_add": 2, "norm_gate": 1}


def cost_of(config: LMConfig, *, int8: bool = True, kv_dtype: torch.dtype | None = None) -> GpuCost:
    found = cost(config, torch.bfloat16, "cuda", int8=int8, kv_dtype=kv_dtype)
    assert isinstance(found, GpuCost)
    return found


@pytest.mark.parametrize("kv_dtype", [torch.bfloat16, torch.int8])
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("batch", [1, 64, 65])
def test_a_step_of_the_7b_launches_434_kernels(batch: int, int8: bool, kv_dtype: torch.dtype) -> None:
    launches = step_launches(SEVEN_B, torch.bfloat16, batch, int8=int8, kv_dtype=kv_dtype)
    assert Counter(each.part for each in launches) == PARTS
    assert len(launches) == 434


def test_a_layer_is_five_kernels() -> None:
    counts = [
        Counter(each.launch.name for each in step_launches(config, torch.bfloat16, 1, int8=True, kv_dtype=None))
        for config in (SEVEN_B, replace(SEVEN_B, num_layers=SEVEN_B.num_layers + 1))
    ]
    assert counts[1] - counts[0] == Counter(LAYER)


@pytest.mark.parametrize(("name", "count"), [("stt-1b", 99), ("tts-1.6b", 940), ("hibiki-zero-3b", 694)])
def test_the_other_models_steps(name: str, count: int) -> None:
    assert len(step_launches(CONFIGS[name], torch.bfloat16, 1, int8=True, kv_dtype=None)) == count


def test_a_step_reads_every_matrix_once_and_every_entry_of_keys_and_values() -> None:
    launches = [each.launch for each in step_launches(SEVEN_B, torch.bfloat16, 8, int8=True, kv_dtype=None)]
    needed = cost_of(SEVEN_B)
    scales = 4 * sum(len(each) for each in _matrices(SEVEN_B))
    assert sum(each.matrix for each in launches) == needed.size.matrices - scales
    assert sum(each.read_per_entry for each in launches) == 32 * 2 * 4096 * 2
    assert sum(each.multiplications for each in launches) == 8 * needed.size.elements


def test_heads_that_share_keys_and_values_read_an_entry_once() -> None:
    launches = step_launches(HIBIKI_ZERO_3B, torch.bfloat16, 8, int8=True, kv_dtype=None)
    assert sum(each.launch.read_per_entry for each in launches) == 28 * 2 * 8 * 128 * 2


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("sessions", [3, 64, 65, 130])
def test_two_batches_say_what_every_batch_takes(config: LMConfig, sessions: int) -> None:
    needed, card = cost_of(config), GPUS["H100"]
    entries = sessions * 0.25 * config.context
    launches = step_launches(config, torch.bfloat16, sessions, int8=True, kv_dtype=None)
    exactly = sum(
        max(
            each.launch.bytes(entries) / card.bandwidth,
            2 * each.launch.multiplications / card.peak,
            card.overhead_s,
        )
        for each in launches
    )
    assert needed.step_s(card, sessions, 0.25) == pytest.approx(exactly, rel=1e-3)


def test_the_predicted_steps_of_the_7b() -> None:
    """The bandwidth that is reached and the time of a launch are assumed: see `gpus`."""
    needed, ages = cost_of(SEVEN_B), 90 * 12.5 / SEVEN_B.context
    found = {card.name: round(1e3 * needed.step_s(card, 1, 0.0), 1) for card in GPUS.values()}
    assert found == {
        "L4": 33.0, "A10G": 16.6, "L40S": 11.6, "A100": 5.1, "H100": 3.3, "H200": 2.5, "B200": 1.7, "GB10": 36.3,
        "RTX-3060": 27.6, "RTX-3090": 10.7, "RTX-4090": 10.0, "RTX-5090": 5.8, "AGX-Orin": 48.3,
    }  # fmt: skip
    assert 1e3 * needed.step_s(GPUS["H100"], 32, ages) == pytest.approx(10.8, abs=0.1)
    in_int8 = cost_of(SEVEN_B, kv_dtype=torch.int8)
    assert 1e3 * in_int8.step_s(GPUS["H100"], 32, ages) == pytest.approx(7.2, abs=0.1)


def test_a_launch_takes_no_less_than_its_overhead() -> None:
    fast = Hardware("fast", 1e12, float("inf"), float("inf"), 3e-6)
    assert cost_of(SEVEN_B).step_s(fast, 1) == pytest.approx(434 * 3e-6)


def test_a_plan_needs_no_triton() -> None:
    program = (
        "import sys; sys.modules['triton'] = None; from antiphon_cloud.cli.commands import commands; "
        "commands(['plan', '--gpu', 'L4'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "L4" in done.stdout


def _matrices(config: LMConfig) -> list[torch.Tensor]:
    from antiphon_cloud.model.layers import Linear
    from antiphon_cloud.model.lm import LanguageModel

    with torch.device("meta"):
        model = LanguageModel(config)
    return [each.weight for each in model.modules() if isinstance(each, Linear)]
