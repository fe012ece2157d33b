"""gpu_check.py [--model DIR]: everything that only a GPU can show, in one command. Paste its output into an issue.

Builds the random 7B unless given a model, then: the GPU's logits against the CPU's, teacher-forced; a step where
anything that waits for the device is an error; eager against captured steps, token by token; times of both for
batches of 1 to 64 with p50 and p99; bytes a second against the card's own copy speed. Fails loudly.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import random_checkpoint
from antiphon.spec import GREEDY
from antiphon_cloud.cache import State
from antiphon_cloud.checkpoint import load_model
from antiphon_cloud.config import LMConfig
from antiphon_cloud.footprint import footprint
from antiphon_cloud.kernels import ring_attention
from antiphon_cloud.lm import LanguageModel
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.plan import cost, gpu, plan
from antiphon_cloud.runner import Runner, model_spec

BATCHES = (1, 2, 4, 8, 16, 32, 64)
TOLERANCE = 0.05  # of the logits: bfloat16 activations against the CPU's
Floats = npt.NDArray[np.float32]
STEPS = 100
WARM_UP = 10


def main() -> None:
    """Runs all checks; exits with status 1 at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory; a random 7B where absent")
    parser.add_argument("--quantize", default="int8", help="none or int8")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_check: PyTorch finds no NVIDIA GPU here")
    with tempfile.TemporaryDirectory() as folder:
        if args.model is None:
            args.model = Path(folder) / "moshi-7b"
            random_checkpoint.write(args.model, {"model_type": "moshi"})
        check(ModelDirectory.open(args.model), args.quantize)


def check(directory: ModelDirectory, quantize: str) -> None:
    """All checks of one model."""
    config, device = directory.config.lm, torch.device("cuda")
    bandwidth = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
          f"copies at {bandwidth / 1e9:.0f} GB/s; {directory.name}, weights {quantize}")  # fmt: skip
    model = load_model(directory, torch.bfloat16, device, quantize)
    small = footprint(config, torch.bfloat16, device, int8=quantize == "int8", cache=None)
    spec = model_spec(directory, torch.int8)
    same_logits(directory, model, quantize)
    no_hidden_waits(model, device)
    needed = cost(config, torch.bfloat16, "cuda", int8=quantize == "int8", cache=None)
    print("batch  cache  mode      p50 ms  p99 ms  GB/s  of copies  predicted ms")
    for cache in (None, torch.int8):
        for batch in BATCHES:
            free = torch.cuda.mem_get_info()[0]
            if footprint(config, torch.bfloat16, device, int8=True, cache=cache).session * (batch + 1) > 0.9 * free:
                print(f"{batch:5}  skipped: keys and values do not fit")
                continue
            tokens = {}
            for mode in ("eager", "captured"):
                runner = Runner(model, batch, spec, cache, graphs=mode == "captured")
                times, tokens[mode] = time_steps(runner, config)
                p50, p99 = np.percentile(times, [50, 99])
                read = small.matrices / (p50 / 1e3)
                predicted = needed.step_s(
                    gpu("this", 0, bandwidth / 1e9, 1e6), batch, (STEPS + WARM_UP) / config.context
                )
                print(
                    f"{batch:5}  {str(cache or torch.bfloat16)[6:]:8} {mode:8} {p50:7.2f} {p99:7.2f} "
                    f"{read / 1e9:6.0f} {read / bandwidth:8.2f} {1e3 * predicted:8.2f}",
                    flush=True,
                )
                del runner
                torch.cuda.empty_cache()
            if not np.array_equal(tokens["eager"], tokens["captured"]):
                sys.exit(f"gpu_check: FAILED: captured steps of batch {batch} give other tokens than eager ones")
    print(f"plan: {plan(needed, gpu('this', torch.cuda.mem_get_info()[1] / 1e9, bandwidth / 1e9, 1e6))}")
    print("gpu_check: passed")


def same_logits(directory: ModelDirectory, model: LanguageModel, quantize: str) -> None:
    """Compares the first steps' text logits with the CPU's, both hearing the CPU's tokens."""
    config = directory.config.lm
    spec = model_spec(directory, torch.int8)
    there = Runner.load(directory, 1, torch.bfloat16, "cpu", quantize=quantize)
    here = Runner(model, 1, spec, graphs=False)
    logits: list[list[Floats]] = [[], []]
    for runner in (there, here):
        runner.reset(0, 0, GREEDY)
    for frame in np.random.default_rng(0).integers(0, config.card, (8, 1, config.user_codebooks), np.int32):
        for runner, rows in zip((there, here), logits, strict=True):
            runner.step([0], frame)
            rows.append(runner.text_logits[0])
        with torch.inference_mode():
            here._state.tokens.copy_(there._state.tokens)
    wanted, found = (np.stack(rows) for rows in logits)
    error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
    agreement = float((found.argmax(-1) == wanted.argmax(-1)).mean())
    print(f"text logits against the CPU's over 8 steps: relative error {error:.4f}, top-1 {agreement:.2f}")
    if not error < TOLERANCE:
        sys.exit("gpu_check: FAILED: the GPU's logits are not the CPU's")


def no_hidden_waits(model: LanguageModel, device: torch.device) -> None:
    """Steps where PyTorch raises at anything that waits for the device."""
    with torch.inference_mode():
        state = State.allocate(model.config, 2, model.dtype, device)
        slots = torch.zeros(1, dtype=torch.int64, device=device)
        codes = torch.zeros(1, model.config.user_codebooks, dtype=torch.int64, device=device)
        for mode in ("default", "error"):  # the first step compiles the kernels
            torch.cuda.set_sync_debug_mode(mode)
            model.step(state, slots, codes, ring_attention.attend(state.ring, slots, state.offsets[slots]))
        torch.cuda.set_sync_debug_mode("default")
    print("no hidden wait for the device in a step")


def time_steps(runner: Runner, config: LMConfig) -> tuple[list[float], npt.NDArray[np.int32]]:
    """Milliseconds of each step after the warm-up, and all tokens."""
    rng = np.random.default_rng(0)
    for slot in range(runner.slots):
        runner.reset(slot, slot, runner.spec.sampling)
    times, tokens = [], []
    for _ in range(STEPS + WARM_UP):
        codes = rng.integers(0, config.card, (runner.slots, config.user_codebooks), np.int32)
        start = time.perf_counter()
        result = runner.step(range(runner.slots), codes)
        times.append(1e3 * (time.perf_counter() - start))
        tokens.append(np.column_stack((result.text, result.codes)))
    if not result.finite.all():
        sys.exit("gpu_check: FAILED: logits are no numbers")
    return times[WARM_UP:], np.stack(tokens)


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of the card's largest copies."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(10):
        target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    return float(10 * 2 * source.nbytes / (start.elapsed_time(end) / 1e3))


if __name__ == "__main__":
    main()
