"""What can be tested of the GPU's check without one: the model that it builds, and that its checks can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon.spec import GREEDY, ModelSpec
from antiphon_cloud.checkpoint.config_file import parse_config
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.cost import cost
from antiphon_cloud.runner.gpus import LAUNCH_S, Hardware
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.fake_cuda import FakeGraph, fake_cuda, static_runner
from tests.support.language_models import GOLDEN
from tools.gpu import accuracy, bandwidth, equality, subject, timing
from tools.gpu.subject import Bench, FailedError, Subject
from tools.harness import random_checkpoint


def test_a_random_checkpoint_loads_and_steps(tmp_path: Path) -> None:
    random_checkpoint.write(tmp_path / "model", json.loads((GOLDEN / "moshi-tiny/config.json").read_text()))
    runner = ModelRunner.load(ModelDirectory.open(tmp_path / "model"), 1, torch.bfloat16, "cpu", quantize="int8")
    assert runner.spec.weights == "int8"
    runner.reset(0, 0, GREEDY)
    codes = {tuple(runner.step([0], torch.full((1, 8), step).numpy()).codes[0]) for step in range(6)}
    assert len(codes) > 3  # it says one thing after another
    assert runner.text_logits.std() > 0.1


def test_without_a_gpu_it_says_so_and_fails() -> None:
    blind = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(
        [sys.executable, "-m", "tools.gpu.check"], capture_output=True, text=True, check=False, env=blind
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("tools.gpu.check: --device cuda: ")
    assert finished.stderr.count("\n") == 1


def tiny(slots: int, quantize: str = "int8") -> ModelRunner:
    return ModelRunner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), slots, torch.bfloat16, "cpu", quantize=quantize)


def test_the_model_that_it_builds_is_the_7b() -> None:
    assert parse_config(random_checkpoint.CONFIGS["7b"], "7b").lm == LMConfig()


def test_the_same_model_passes() -> None:
    report = accuracy.same_model(tiny(1), tiny(2), 8)
    assert "top-1 1.000, error 0.0000 text; top-1 1.000, error 0.0000 codes" in report


@pytest.mark.parametrize("part", ["text_linear", "linears.1"])
def test_another_model_fails(part: str) -> None:
    other = tiny(1, "none")
    for parameter in other.ops.model.get_submodule(part).parameters():
        parameter.data.mul_(1.5)
    with pytest.raises(FailedError, match="errors must stay below"):
        accuracy.same_model(tiny(1, "none"), other, 8)


@pytest.mark.parametrize("kv_dtype", [torch.bfloat16, torch.int8])
def test_a_session_rebuilt_in_chunks_passes_and_one_that_is_not_fails(
    kv_dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tiny(1, "none")
    runner = ModelRunner(loaded.ops, 2, loaded.spec, kv_dtype)
    assert "rebuilt 30 steps in chunks of 16" in equality.rebuilt(runner, steps=30, chunk=16)
    monkeypatch.setattr(runner, "prefill", lambda *args: None)
    with torch.inference_mode():
        for tensor in runner.state.ring.tensors:
            tensor[:, 1] = 0
    with pytest.raises(FailedError, match="must stay below"):
        equality.rebuilt(runner, steps=30, chunk=16)


def test_logits_that_are_no_numbers_fail() -> None:
    runner = tiny(2, "none")
    runner.ops.model.out_norm.alpha.data[..., 3] = np.nan
    with pytest.raises(FailedError, match="step 1 are no numbers"):
        timing.time_steps(runner)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small card that the CPU plays, with captured steps."""
    fake_cuda(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1 << 27, 1 << 28))
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: {"num_device_alloc": 7})
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    monkeypatch.setattr(subject, "ModelRunner", static_runner)
    monkeypatch.setattr(timing, "BATCHES", (1, 3))
    monkeypatch.setattr(timing, "STEPS", 6)
    monkeypatch.setattr(equality, "CHUNKS", (4, 10))


SUBJECT = Subject(ModelDirectory.open(GOLDEN / "moshi-tiny"), torch.bfloat16, "none")


class Told(list[str]):
    """What a stage tells; `facts` has the figures."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[dict[str, object]] = []

    def __call__(self, text: str, *, kind: str = "note", **facts: object) -> None:
        self.append(text)
        self.facts += [facts] * bool(facts)


def time_all(copies: float = 2.5e12, peak: float | None = 3.35e12) -> Told:
    loaded, told = tiny(1, "none"), Told()
    timing.time_all(SUBJECT, loaded.ops, loaded.spec, copies, peak, told)
    return told


@pytest.mark.usefixtures("card")
def test_every_batch_is_timed_eager_and_captured_and_what_is_served_first() -> None:
    told = time_all()
    head, *lines = told
    assert head.split("  ")[0] == "batch"
    rows = [line.split() for line in lines if not line.startswith("plan")]
    assert [row[:3] for row in rows] == [
        [batch, kv_dtype, mode]
        for kv_dtype in ("int8", "bfloat16")
        for batch in ("1", "3")
        for mode in ("eager", "captured")
    ]
    for _, _, _, p50, p99, read, of_peak, of_copies, predicted in rows:
        assert 0 < float(p50) <= float(p99)
        assert float(read) >= float(of_peak) >= 0
        assert float(of_copies) >= float(of_peak)
        assert float(predicted) > 0
    assert len(lines) - len(rows) == 2  # a plan for each cache
    assert [(f["batch"], f["cache"], f["mode"]) for f in told.facts] == [(int(r[0]), r[1], r[2]) for r in rows]


@pytest.mark.usefixtures("card")
def test_a_prediction_reads_at_the_speed_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "BATCHES", (1,))
    needed = cost(SUBJECT.directory.config.lm, torch.bfloat16, "cuda", int8=False, kv_dtype=torch.int8)
    row = time_all(copies=1e6, peak=None)[1].split()
    filled = (6 / 2 + timing.WARM_UP) / SUBJECT.directory.config.lm.context
    slow = Hardware("here", 0, 1e6, float("inf"), LAUNCH_S)
    assert row[6] == "?"
    assert float(row[8]) == pytest.approx(1e3 * needed.step_s(slow, 1, filled), rel=1e-3)


class Stale(FakeGraph):
    """A graph whose output does not follow its inputs."""

    def replay(self) -> None:
        """Leaves all as the capture did."""


@pytest.mark.usefixtures("card")
def test_captured_tokens_that_are_not_the_eager_ones_fail_once_all_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Stale)
    with pytest.raises(FailedError) as failed:
        time_all()
    assert str(failed.value).split("; ") == [
        f"captured steps of batch {batch} give other tokens than eager ones ({cache} cache)"
        for cache in ("int8", "bfloat16")
        for batch in (1, 3)
    ]
    loaded = tiny(1, "none")
    with pytest.raises(FailedError, match=r"of slots \[2, 0\], gives other tokens captured than eager"):
        equality.alone_and_together(loaded.ops, loaded.spec, torch.bfloat16)


@pytest.mark.usefixtures("card")
def test_a_session_that_hears_its_neighbours_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(1, "none")
    embed = loaded.ops.embed
    monkeypatch.setattr(loaded.ops, "embed", lambda tokens: (x := embed(tokens)) + x.mean(0))
    with pytest.raises(FailedError, match="the error must stay below"):
        equality.alone_and_together(loaded.ops, loaded.spec, torch.bfloat16)


@pytest.mark.usefixtures("card")
def test_all_that_is_checked_of_steps_passes() -> None:
    loaded, lines = tiny(1, "none"), Told()
    for kv_dtype in (torch.bfloat16, torch.int8):
        equality.check_steps(SUBJECT, loaded.ops, loaded.spec, kv_dtype, lines)
    assert [line.split(" cache: ")[0] for line in lines] == ["bfloat16"] * 4 + ["int8"] * 4
    assert "rebuilt 30 steps in chunks of 4 " in lines[5]
    assert "captured tokens are the eager ones; each session alone: text top-1 " in lines[7]


@pytest.mark.usefixtures("card")
def test_the_card_is_held_against_the_cpu_with_the_model_that_is_loaded_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, told, loaded = [], Told(), tiny(1, "none")

    def runner(subject: Subject, device: str, slots: int) -> ModelRunner:
        asked.append(device)
        return tiny(slots, "none")

    monkeypatch.setattr(Subject, "runner", runner)
    bench = Bench(SUBJECT.directory.root, "none")
    bench.loaded = loaded.ops, loaded.spec
    accuracy.run(bench, told)
    assert asked == ["cpu"]
    assert len(told) == 1
    assert told[0].startswith("against the CPU over 8 steps: top-1 1.000, error 0.0")


@pytest.mark.usefixtures("card")
def test_a_step_that_waits_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    loaded = tiny(1, "none")
    runner = static_runner(loaded.ops, 2, loaded.spec)
    equality.no_hidden_waits(runner)
    assert modes == ["default", "default", "error", "default"]
    step = runner.step

    def waits(*args: object) -> object:
        if modes[-1] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "step", waits)
    with pytest.raises(FailedError, match="a step waits for the device: called a synchronizing"):
        equality.no_hidden_waits(runner)
    assert modes[-1] == "default"


@pytest.mark.usefixtures("card")
def test_nothing_that_could_be_timed_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1000, 1 << 28))
    with pytest.raises(FailedError, match=r"nothing was timed: .* keys and values in int8 fit"):
        time_all()


def uncaptured(ops: Ops, slots: int, spec: ModelSpec, kv_dtype: torch.dtype, graphs: bool) -> ModelRunner:
    """A runner that steps eagerly whatever it is asked for."""
    return static_runner(ops, slots, spec, kv_dtype, graphs=False)


@pytest.mark.usefixtures("card")
def test_a_runner_without_graphs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "ModelRunner", uncaptured)
    with pytest.raises(FailedError, match="a runner of 1 slots has no captured steps"):
        time_all()


@pytest.mark.usefixtures("card")
def test_memory_taken_after_the_warm_up_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter(range(1000))
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: {"num_device_alloc": next(taken)})
    with pytest.raises(FailedError, match="took memory from the device 1 times"):
        time_all()


@pytest.mark.parametrize(
    ("name", "gib", "gb_s"),
    [
        ("NVIDIA L4", 22.0, 300),
        ("NVIDIA A10G", 22.0, 600),
        ("NVIDIA L40S", 44.4, 864),
        ("NVIDIA A100-SXM4-80GB", 79.3, 2039),
        ("NVIDIA H100 80GB HBM3", 79.1, 3350),
        ("NVIDIA H200", 139.8, 4800),
    ],
)
def test_the_peak_is_the_data_sheets(name: str, gib: float, gb_s: float) -> None:
    assert bandwidth.peak_bandwidth(name, int(gib * 2**30)) == pytest.approx(gb_s * 1e9)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("NVIDIA Unheard-Of", 79.1),
        ("NVIDIA H100 PCIe", 79.1),
        ("NVIDIA A100 80GB PCIe", 79.3),
        ("NVIDIA A100-SXM4-40GB", 39.4),
        ("NVIDIA H100 NVL", 93.1),
        ("NVIDIA GH200 480GB", 94.5),
    ],
)
def test_the_peak_of_another_card_is_not_known(name: str, gib: float) -> None:
    assert bandwidth.peak_bandwidth(name, int(gib * 2**30)) is None
