"""Measures how soon a session with a voice and a persona is ready.

    python -m tools.bench.prompt [--model DIR] [--quantize int8] [--dtype ...] [--device cuda]

Prints three times of one prompt: its steps one by one, its prefill, and its prefill in the second session that begins
with it. Without --model a PersonaPlex of 444 million random weights is made and dropped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from antiphon.history import HistoryTokens
from antiphon.spec import GREEDY, ModelSpec
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import is_int8
from antiphon_cloud.engine.pacing import PrefillPacer
from antiphon_cloud.runner.device import named_dtype, step_dtype
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.runner.settings import SessionSettings
from tools.harness.random_checkpoint import CONFIGS, write

VOICE_FRAMES, PERSONA_TOKENS, SILENT_FRAMES = 250, 200, 12  # 20 s, a long paragraph, twice half a second
CACHE_BYTES = 1 << 30
WARM_UP_STEPS = 5
STEPS_TIMED = 50  # of the prompt's, one by one; the others take as long


def prompt_rows(spec: ModelSpec) -> HistoryTokens:
    """A prompt's tokens, at random: what they say takes no time."""
    steps, random = VOICE_FRAMES + PERSONA_TOKENS + SILENT_FRAMES, np.random.default_rng(0)
    codes = random.integers(0, spec.cardinality, (2, steps, spec.model_codebooks), dtype=np.int32)
    text = random.integers(0, spec.text_cardinality, steps, dtype=np.int32)
    return HistoryTokens(steps, codes[0][:, : spec.user_codebooks], text, codes[1])


def step_s(runner: ModelRunner, rows: HistoryTokens) -> float:
    """Seconds that the prompt's steps take one by one."""
    runner.reset(0, 0, GREEDY)
    for row in range(WARM_UP_STEPS):
        runner.step([0], rows.user[row][None])
    start_s = time.perf_counter()
    for row in range(WARM_UP_STEPS, WARM_UP_STEPS + STEPS_TIMED):
        runner.step([0], rows.user[row][None])
    return (time.perf_counter() - start_s) / STEPS_TIMED * len(rows)


def prefill_s(runner: ModelRunner, rows: HistoryTokens) -> float:
    """Seconds until a session with the prompt is ready, in chunks as the stepper takes them while nobody else steps."""
    settings, pacer = SessionSettings(prompt_steps=len(rows), prompt_sha256=b"prompt"), PrefillPacer()
    start_s = time.perf_counter()
    prefill = runner.resume(0, 0, GREEDY, rows, settings)
    while prefill.left:
        chunk_s = time.perf_counter()
        done = prefill.advance(pacer.steps)
        pacer.measured(done, 1e3 * (time.perf_counter() - chunk_s))
    return time.perf_counter() - start_s


def main() -> None:
    """Measures what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--quantize", choices=["none", "int8"])
    parser.add_argument("--kv-cache", choices=["float32", "bfloat16", "float16", "int8"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if args.model is None:
            write(Path(made), CONFIGS["444m"] | {"model_type": "personaplex"})
        directory = ModelDirectory.open(args.model or Path(made))
        runner = ModelRunner.load(
            directory,
            1,
            step_dtype(args.device, args.dtype, is_int8(directory, args.quantize)),
            args.device,
            quantize=args.quantize,
            kv_dtype=named_dtype(args.kv_cache) if args.kv_cache else None,
            prompt_cache_bytes=CACHE_BYTES,
        )
    rows = prompt_rows(runner.spec)
    if runner.padded:
        runner.warm_up_prefill()
    one_by_one, first, second = step_s(runner, rows), prefill_s(runner, rows), prefill_s(runner, rows)
    print(f"{len(rows)} steps one by one  {one_by_one * 1e3:8.0f} ms")
    print(f"prefill                {first * 1e3:8.0f} ms, 1/{one_by_one / first:.1f}")
    print(f"the same prompt again  {second * 1e3:8.0f} ms, {runner.prompts.size_bytes / 1e6:.0f} MB kept")


if __name__ == "__main__":
    main()
