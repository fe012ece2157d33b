"""Times loading and the step of one worker on this CPU, and prints the times with the predicted one as JSON.

    python -m tools.bench.step_worker MODEL_DIR

Steps and reads of more bytes than any cache holds take turns, so that both meet the same load of the machine. With
`--churn N`, every N steps a session leaves and another joins in a free slot. The reset of that slot counts as part of
the step, because the other sessions wait for it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import statistics
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch

from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.backends.int8 import quantize_rows
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import is_int8, load_model
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.runner.cost import cost, number_of_products
from antiphon_cloud.runner.device import named_dtype
from antiphon_cloud.runner.footprint import check_fits, footprint
from antiphon_cloud.runner.gpus import Hardware
from antiphon_cloud.runner.model_spec import model_spec
from antiphon_cloud.runner.runner import ModelRunner
from tools.harness.process_memory import memory_bytes

WARM_UP = 3
READ_FLOATS = 50_000_000  # 200 MB: much larger than any cache
CPU = torch.device("cpu")


def main() -> None:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--quantize", default="int8", choices=["none", "int8"])
    parser.add_argument("--dtype", default="bfloat16", help="of activations; with --quantize none, of weights too")
    parser.add_argument("--batch", type=int, default=1, help="sessions that step")
    parser.add_argument("--slots", type=int, help="slots of the worker (default: as many as needed)")
    parser.add_argument("--churn", type=int, metavar="N", help="let a session join and another leave every N steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=16)
    args = parser.parse_args()
    int8, dtype = args.quantize == "int8", named_dtype(args.dtype)
    directory = ModelDirectory.open(args.model)
    config = directory.config.lm
    slots = args.slots or args.batch + bool(args.churn)
    if slots < args.batch + bool(args.churn):
        parser.error("--slots: fewer than the batch, or with --churn no more than it")
    backend = select(CPU, dtype, is_int8(directory, args.quantize))
    size = footprint(config, backend, dtype)
    check_fits(size, slots, CPU)
    backend.use_threads(args.threads)
    overhead_s = seconds_a_product()  # before loading, so that one-time work of the process is not in the model's peak
    own_bytes = reset_peak()
    start = time.perf_counter()
    ops = backend.ops(load_model(directory, backend))
    load_s, peak_bytes = time.perf_counter() - start, memory_bytes("VmHWM")
    runner = ModelRunner(ops, slots, model_spec(directory, torch.int8 if int8 else dtype), dtype)
    process_bytes = memory_bytes("VmHWM")
    steps_s, reads_s = time_steps(runner, args.batch, args.threads, args.steps, args.churn)
    p50, p95, p99 = np.percentile(steps_s, [50, 95, 99])
    second_a_byte = statistics.median(reads_s) / (4 * READ_FLOATS)
    found = {
        "median_ms": 1e3 * p50,
        "p95_ms": 1e3 * p95,
        "p99_ms": 1e3 * p99,
        "read_mb": size.matrices / 1e6,
        "read_ms": 1e3 * size.matrices * second_a_byte,
        "load_s": load_s,
        "weights_mb": (size.matrices + size.tables) / 1e6,
        "peak_mb": (peak_bytes - own_bytes) / 1e6,  # peak while loading, without the process's own memory
        "process_mb": process_bytes / 1e6,  # peak so far, sessions included
    }
    if int8:  # torch multiplies floats; its overhead per product is different
        machine = Hardware("here", 0, 1 / second_a_byte, float("inf"), overhead_s)
        filled = (WARM_UP + args.steps) / 2 / config.context
        needed = cost(config, dtype, "cpu", int8=True, kv_dtype=dtype)
        found["predicted_ms"] = 1e3 * needed.step_s(machine, args.batch, filled)
    print(json.dumps(found))


def time_steps(
    runner: ModelRunner, batch: int, threads: int, steps: int, churn: int | None
) -> tuple[list[float], list[float]]:
    """Seconds of each step, and of each read. The sessions start together in the last slots.

    Every `churn` steps the oldest session leaves, and a new one joins in the slot that has been free for longest.
    """
    slots, free = deque(range(runner.slots - batch, runner.slots)), deque(range(runner.slots - batch))
    for slot in slots:
        runner.reset(slot, slot, runner.spec.sampling)
    floats, rng = torch.ones(READ_FLOATS), np.random.default_rng(0)
    steps_s, reads_s = [], []
    for step in range(WARM_UP + steps):
        frames = rng.integers(0, runner.spec.cardinality, (batch, runner.spec.user_codebooks), np.int32)
        start = time.perf_counter()
        if churn and step % churn == 0:
            free.append(slots.popleft())
            slots.append(free.popleft())
            runner.reset(slots[-1], step, runner.spec.sampling)
        runner.step(slots, frames)
        steps_s.append(time.perf_counter() - start)
        reads_s.append(seconds_to_read(floats, threads))
    return steps_s[WARM_UP:], reads_s[WARM_UP:]


def reset_peak() -> int:
    """Resets the peak of this process's memory; returns the current memory in bytes.

    Returns freed memory to the system first: otherwise later allocations would reuse it and look smaller.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory_bytes()


def seconds_to_read(floats: torch.Tensor, threads: int) -> float:
    """Seconds for one read of `floats` on `threads` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    start = time.perf_counter()
    floats.sum()
    took = time.perf_counter() - start
    torch.set_num_threads(before)
    return took


def seconds_a_product() -> float:
    """Overhead of a product besides reading its weights: the step time of a tiny model over its number of products."""
    config = LMConfig(dim=64, num_heads=2, num_layers=16, context=64, depformer_dim=64, depformer_num_heads=2,
                      depformer_num_layers=4, depformer_dim_feedforward=264)  # fmt: skip
    model, backend = LanguageModel(config).requires_grad_(False), select(CPU, torch.bfloat16, int8=True)
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear):
            model.set_submodule(name, backend.matrix(*quantize_rows(torch.randn_like(module.weight))))
    spec = ModelSpec("none", "moshi", 8, 8, 2048, 32_000, 1, 64, Sampling(), "int8", True)
    runner = ModelRunner(backend.ops(model), 1, spec)
    runner.reset(0, 0, spec.sampling)
    times = []
    for _ in range(WARM_UP + 20):
        start = time.perf_counter()
        runner.step([0], np.zeros((1, 8), np.int32))
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:]) / number_of_products(config)


if __name__ == "__main__":
    main()
