"""bench_step.py MODEL_DIR: the step on this CPU, against the reference where one is given, alternating in one run.

Each round runs every engine once, in a process of its own; figures are medians over the rounds' medians. Beside them
stand the time that reading the same bytes takes, measured in the same process just before, and what `plan`'s model of
cost predicts from it. Only the ratios mean anything on a machine that is shared.

    python tools/bench_step.py /tmp/ckpt/moshi-444m --peer-python /tmp/oracle/bin/python --peer PATH/time_lm.py
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from antiphon_cloud.footprint import footprint
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.native.library import library
from antiphon_cloud.plan import Machine, cost
from antiphon_cloud.runner import Runner
from antiphon_cloud.serving import set_step_threads

WARM_UP = 3
READ_FLOATS = 100_000_000  # 400 MB: far beyond any cache


def main() -> None:
    """Parses the arguments; a worker times one engine, the parent alternates them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--peer-python", type=Path, help="interpreter that has the reference implementation")
    parser.add_argument(
        "--peer", type=Path, help="script that times the reference: MODEL --batch N --threads N --steps N"
    )
    parser.add_argument("--quantize", default="int8", help="none or int8")
    parser.add_argument("--dtype", default="bfloat16", help="of activations; with --quantize none, of weights too")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--slots", type=int, help="of the worker; as many as the batch where absent")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(time_steps(args)))
        return
    print(f"{processor()}, torch {torch.__version__}, {args.model.name}, weights {args.quantize}")
    for threads in args.threads:
        for batch in args.batch:
            compare(args, batch, threads)


def compare(args: argparse.Namespace, batch: int, threads: int) -> None:
    """Runs the rounds and prints their line."""
    common = [str(args.model), "--batch", str(batch), "--threads", str(threads), "--steps", str(args.steps)]
    own = [sys.executable, __file__, *common, "--worker", "--quantize", args.quantize, "--dtype", args.dtype]
    own += ["--slots", str(args.slots)] if args.slots else []
    ours, peers = [], []
    for _ in range(args.rounds):
        ours.append(run(own))
        if args.peer_python and args.peer:
            peers.append(run([str(args.peer_python), str(args.peer), *common]))

    def median(rows: list[dict[str, Any]], key: str) -> float:
        return float(statistics.median(row[key] for row in rows))

    step = median(ours, "median_ms")
    line = (
        f"batch {batch}, {threads} threads: p50 {step:.1f} ms, p95 {median(ours, 'p95_ms'):.1f}, "
        f"p99 {median(ours, 'p99_ms'):.1f}; reads {ours[0]['read_mb']:.0f} MB, which alone take "
        f"{median(ours, 'read_ms'):.1f} ms ({step / median(ours, 'read_ms'):.2f} times); "
        f"predicted {median(ours, 'predicted_ms'):.1f} ms ({median(ours, 'predicted_ms') / step:.2f})"
    )
    if peers:
        line += f"; reference {median(peers, 'median_ms'):.1f} ms: {median(peers, 'median_ms') / step:.2f} times ours"
    print(line, flush=True)


def run(command: list[str]) -> dict[str, Any]:
    """The last line of a process' output, as JSON."""
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


def time_steps(args: argparse.Namespace) -> dict[str, float]:
    """Times the steps of sessions that start together."""
    batch, quantize = args.batch[0], args.quantize
    set_step_threads(args.threads[0], compiled=quantize == "int8" and library() is not None)
    dtype, device = getattr(torch, args.dtype), torch.device("cpu")
    directory = ModelDirectory.open(args.model)
    config = directory.config.lm
    runner = Runner.load(directory, args.slots or batch, dtype, device, quantize=quantize)
    slots = range(runner.slots - batch, runner.slots)
    for slot in slots:
        runner.reset(slot, slot, runner.spec.sampling)
    read_s = seconds_a_byte(args.threads[0])
    size = footprint(config, dtype, device, int8=quantize == "int8", cache=dtype)
    codes = np.random.default_rng(0).integers(0, config.card, (args.steps, batch, config.user_codebooks), np.int32)
    times = []
    for frames in codes:
        start = time.perf_counter()
        runner.step(slots, frames)
        times.append(1e3 * (time.perf_counter() - start))
    p50, p95, p99 = np.percentile(times[WARM_UP:], [50, 95, 99])
    needed = cost(config, dtype, "cpu", int8=quantize == "int8", cache=dtype)
    machine = Machine("here", 0, 1 / read_s, float("inf"), seconds_a_product())
    return {
        "median_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "read_mb": size.matrices / 1e6,
        "read_ms": 1e3 * size.matrices * read_s,
        "predicted_ms": 1e3 * needed.step_s(machine, batch, filled=args.steps / 2 / config.context),
    }


def seconds_a_byte(threads: int) -> float:
    """What reading memory takes on so many threads, at best."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    floats = torch.ones(READ_FLOATS)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        floats.sum()
        times.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return min(times) / floats.nbytes


def seconds_a_product() -> float:
    """What a product brings beside its reading: the step of a model with nothing to read, by its products."""
    from antiphon.spec import ModelSpec, Sampling
    from antiphon_cloud.config import LMConfig
    from antiphon_cloud.lm import LanguageModel
    from antiphon_cloud.native.model import accelerated
    from antiphon_cloud.quant import int8_module, quantize_rows
    from antiphon_cloud.transformer import Linear

    config = LMConfig(dim=64, num_heads=2, num_layers=8, context=64, text_card=2048, depformer_dim=64,
                      depformer_num_heads=2, depformer_num_layers=4, depformer_dim_feedforward=264)  # fmt: skip
    model = LanguageModel(config).requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear):
            weight, scale = quantize_rows(torch.randn_like(module.weight))
            model.set_submodule(name, int8_module(weight, scale, torch.bfloat16, torch.device("cpu")))
    if library() is not None:
        model = accelerated(model)
    spec = ModelSpec("none", "moshi", 8, 8, 2048, 2048, 1, 64, Sampling(), "int8", True)
    runner = Runner(model, 1, spec)
    runner.reset(0, 0, spec.sampling)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        runner.step([0], np.zeros((1, 8), np.int32))
        times.append(time.perf_counter() - start)
    products = cost(config, torch.bfloat16, "cpu", int8=True, cache=None).products
    return statistics.median(times) / products


def processor() -> str:
    """The CPU's name."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].split(":")[1].strip() if names else platform.processor()


if __name__ == "__main__":
    main()
