"""Times a step whose sessions have an adapter each, against the same step without any.

    python -m tools.bench.adapters [MODEL_DIR] [--ranks 8 16 32 64] [--batch 8] [--threads 2]

One process steps both in turn, so that they meet the same load of the machine. Prints medians, that of the ratios of
neighbours, and the ratio of the bytes that the two read: what it would be if reading were all that takes time. Without
a model a random one is made. Exits with status 1 if a step with adapters of the first rank takes more than 1.25 times
as long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import load_model
from antiphon_cloud.model.adapters import NONE, AdapterRoom, AdapterStore
from antiphon_cloud.runner.device import named_dtype
from antiphon_cloud.runner.footprint import footprint
from antiphon_cloud.runner.model_spec import model_spec
from antiphon_cloud.runner.runner import ModelRunner
from tools.bench.step import processor
from tools.harness import random_checkpoint

CPU = torch.device("cpu")
AT_MOST = 1.25
WARM_UP = 3


def main() -> int:
    """Runs the measurements and prints them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL_DIR")
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--factors", default="int8", choices=["float32", "int8"], help="what adapters are in")
    parser.add_argument("--shared", action="store_true", help="all sessions have the same adapter")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or Path(folder) / "random-444m"
        if args.model is None:
            random_checkpoint.write(model, random_checkpoint.CONFIGS["444m"])
        print(f"{processor()}, {args.threads} threads, torch {torch.__version__}, {model.name} in int8")
        ratios = [compare(args, ModelDirectory.open(model), rank) for rank in args.ranks]
    if ratios[0] > AT_MOST:
        print(f"tools.bench.adapters: {ratios[0]:.2f} times is more than {AT_MOST}", file=sys.stderr)
    return ratios[0] > AT_MOST


def compare(args: argparse.Namespace, directory: ModelDirectory, rank: int) -> float:
    """Times steps with adapters of a rank and without, and prints the figures; returns the ratio."""
    backend, batch = replace(select(CPU, torch.bfloat16, int8=True), factors=named_dtype(args.factors)), args.batch
    backend.use_threads(args.threads)
    room = AdapterRoom(1 if args.shared else batch, rank)
    model = load_model(directory, backend, room)
    assert model.adapters is not None
    fill(model.adapters)
    runner = ModelRunner(backend.ops(model), batch, model_spec(directory, torch.int8), torch.bfloat16)
    places = {True: [slot % room.places for slot in range(batch)], False: [NONE] * batch}
    for slot in range(batch):
        runner.reset(slot, slot, runner.spec.sampling)
    rng, times_s = np.random.default_rng(0), dict[bool, list[float]]([(True, []), (False, [])])
    for step in range(2 * (WARM_UP + args.steps)):
        adapted = step % 2 == 0
        for slot, place in enumerate(places[adapted]):
            runner.adapt(slot, place)
        frames = rng.integers(0, runner.spec.cardinality, (batch, runner.spec.user_codebooks), np.int32)
        start = time.perf_counter()
        runner.step(range(batch), frames)
        times_s[adapted].append(time.perf_counter() - start)
    with_s, without_s = (statistics.median(times_s[adapted][WARM_UP:]) for adapted in (True, False))
    pairs = zip(times_s[True][WARM_UP:], times_s[False][WARM_UP:], strict=True)  # neighbours: of one load
    ratio = statistics.median(more_s / less_s for more_s, less_s in pairs)
    size = footprint(directory.config.lm, backend, torch.bfloat16, room=room)
    print(
        f"batch {batch}, {room.places} adapters of rank {rank} in {args.factors}: {1e3 * with_s:.1f} ms, without "
        f"{1e3 * without_s:.1f} ms: {ratio:.2f} times; the weights are {size.matrices / 1e6:.0f} MB, the "
        f"adapters {size.adapters / 1e6:.0f}: {1 + size.adapters / size.matrices:.2f} times the bytes",
        flush=True,
    )
    return ratio


def fill(store: AdapterStore) -> None:
    """Puts random adapters into all places."""
    generator = torch.Generator().manual_seed(0)
    for factors in store.by_name.values():
        places, rank, inputs = factors.down.shape
        for place in range(places):
            down = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
            factors.put(place, down, torch.randn(rank, factors.up.shape[2], generator=generator) * 0.01)


if __name__ == "__main__":
    sys.exit(main())
