"""Times the step on this CPU, alone or against a reference implementation.

    python -m tools.bench.step /tmp/ckpt/moshi-444m --peer-python /tmp/oracle/bin/python --peer PATH/time_lm.py

Each round runs every engine once, in a process of its own. Prints, as medians over the rounds: percentiles of the step,
the time to read the same bytes (measured between the steps), the time that `plan`'s cost model predicts from it, the
reference's time, and load time and memory. On a shared machine only the ratios are meaningful. Without a model, two
random ones are made.

Exits with status 1 if a limit is missed:
- the cost model is at most 25 % off for one session in int8;
- the batch takes at most 1.3 times as long among many slots (`--slots`) as in a worker of its own;
- the step is at least 4.5 times as fast as the reference for one session on one thread, 4 times otherwise and for the
  7B.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tools.harness import random_checkpoint

WORKER = ("-m", "tools.bench.step_worker")
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}  # else torch's threads, which only read, keep spinning during the next step
SIZES = ("444m", "1.3b")  # random models to make if none is given
PREDICTED_WITHIN = 0.25
AMONG_SLOTS_WITHIN = 1.3
TIMES_THE_REFERENCE, TIMES_THE_REFERENCE_ALONE = 4.0, 4.5
LARGE_MB = 5000  # read per step; from here on, the 7B's limit applies


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds, for one model, batch and number of threads."""

    model: str
    batch: int
    threads: int
    ours: dict[str, float]
    among_slots_ms: float | None = None
    churned: dict[str, float] | None = None  # like `ours`, while sessions join and leave
    reference_ms: float | None = None

    def line(self) -> str:
        """The figures as text."""
        ours, step = self.ours, self.ours["median_ms"]
        line = (
            f"{self.model}, batch {self.batch}, {self.threads} threads: p50 {step:.1f} ms, p95 {ours['p95_ms']:.1f}, "
            f"p99 {ours['p99_ms']:.1f}; reads {ours['read_mb']:.0f} MB, which alone take {ours['read_ms']:.1f} ms "
            f"({step / ours['read_ms']:.2f} times)"
        )
        if "predicted_ms" in ours:
            line += f"; predicted {ours['predicted_ms']:.1f} ms ({ours['predicted_ms'] / step:.2f})"
        if self.among_slots_ms is not None:
            line += f"; among more slots {self.among_slots_ms:.1f} ms ({self.among_slots_ms / step:.2f} times)"
        if self.churned is not None:
            p50, p99 = self.churned["median_ms"], self.churned["p99_ms"]
            line += f"; while sessions come and go p50 {p50:.1f} ms, p99 {p99:.1f}"
        if self.reference_ms is not None:
            line += f"; reference {self.reference_ms:.1f} ms: {self.reference_ms / step:.2f} times ours"
        peak, weights = ours["peak_mb"], ours["weights_mb"]
        return (
            f"{line}; loaded in {ours['load_s']:.1f} s, at most {peak:.0f} MB for {weights:.0f} MB "
            f"({peak / weights:.2f} times), {ours['process_mb']:.0f} MB in all"
        )

    def misses(self) -> list[str]:
        """The limits that are missed."""
        step, found = self.ours["median_ms"], []
        off = abs(self.ours.get("predicted_ms", step) / step - 1)
        if self.batch == 1 and not off <= PREDICTED_WITHIN:
            found.append(f"{self.model}: the prediction is off by {off:.0%}, more than {PREDICTED_WITHIN:.0%}")
        alone = self.batch == self.threads == 1 and self.ours["read_mb"] < LARGE_MB
        wanted = TIMES_THE_REFERENCE_ALONE if alone else TIMES_THE_REFERENCE
        if self.reference_ms is not None and not self.reference_ms >= wanted * step:
            found.append(
                f"{self.model}: batch {self.batch} on {self.threads} threads is {self.reference_ms / step:.2f} times "
                f"as fast as the reference, not {wanted}"
            )
        if self.among_slots_ms is not None and not self.among_slots_ms <= AMONG_SLOTS_WITHIN * step:
            found.append(
                f"{self.model}: batch {self.batch} takes {self.among_slots_ms / step:.2f} times as long among more "
                f"slots, more than {AMONG_SLOTS_WITHIN}"
            )
        return found


def main() -> int:
    """Runs the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL_DIR")
    parser.add_argument("--peer-python", type=Path, help="Python with the reference implementation")
    parser.add_argument(
        "--peer", type=Path, help="script that times the reference: MODEL --batch N --threads N --steps N"
    )
    parser.add_argument("--quantize", default="int8", choices=["none", "int8"])
    parser.add_argument("--dtype", default="bfloat16", help="of activations; with --quantize none, of weights too")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--slots", type=int, help="also time the batch in a worker with this many slots")
    parser.add_argument(
        "--churn", type=int, metavar="N", help="also time it while a session joins and another leaves every N steps"
    )
    args = parser.parse_args()
    misses: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        models = args.models or [Path(folder) / f"random-{size}" for size in SIZES]
        print(f"{processor()}, torch {torch.__version__}, weights {args.quantize}")
        for model in models:
            if not args.models:
                random_checkpoint.write(model, random_checkpoint.CONFIGS[model.name.removeprefix("random-")])
            for threads in args.threads:
                for batch in args.batch:
                    figures = compare(args, model, batch, threads)
                    print(figures.line(), flush=True)
                    misses += figures.misses()
    for miss in misses:
        print(f"tools.bench.step: {miss}", file=sys.stderr)
    return bool(misses)


def compare(args: argparse.Namespace, model: Path, batch: int, threads: int) -> Figures:
    """Runs the rounds; the engines take turns."""
    common = [str(model), "--batch", str(batch), "--threads", str(threads), "--steps", str(args.steps)]
    worker = [sys.executable, *WORKER, *common, "--quantize", args.quantize, "--dtype", args.dtype]
    ours, among_slots, churned, peers = [], [], [], []
    for _ in range(args.rounds):
        ours.append(run(worker, PASSIVE))
        if args.slots:
            among_slots.append(run([*worker, "--slots", str(args.slots)], PASSIVE))
        if args.churn:
            churned.append(run([*worker, "--churn", str(args.churn)], PASSIVE))
        if args.peer_python and args.peer:
            peers.append(run([str(args.peer_python), str(args.peer), *common]))
    return Figures(
        model.name,
        batch,
        threads,
        medians(ours),
        medians(among_slots)["median_ms"] if among_slots else None,
        medians(churned) if churned else None,
        median(peers, "median_ms") if peers else None,
    )


def medians(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The median of every figure over the rounds."""
    return {key: median(rows, key) for key in rows[0]}


def median(rows: list[dict[str, Any]], key: str) -> float:
    """The median of one figure over the rounds."""
    return float(statistics.median(row[key] for row in rows))


def run(command: list[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Runs a command; returns the last line of its output, parsed as JSON."""
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {}))
    if finished.returncode:
        sys.exit(f"tools.bench.step: {' '.join(command)} failed; its errors are above")
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


def processor() -> str:
    """The CPU's name."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].split(":")[1].strip() if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
