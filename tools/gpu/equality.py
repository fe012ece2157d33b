"""The stage `equality`: what must not change a session's tokens, nor make a step wait.

For keys and values in floats and in int8: a whole step where anything that waits for the device, but for the one wait
for its results, is an error; a session rebuilt from its history, in chunks that take either product; sessions that come
and go in batches of changing size, so that graphs of all sizes take turns and pad, captured against eager token by
token, and against each session alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from antiphon.history import HistoryTokens
from antiphon.spec import GREEDY, ModelSpec
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.runner import ModelRunner
from tools.bench.agreement import Difference, Floats, frames
from tools.gpu.subject import LOGITS_ERROR, Bench, FailedError, Subject, Tell, name, runner_of

CHUNKS = (64, 128, 384)  # steps of a rebuild at a time: in int8 one tile of our kernel, two of them, and BLAS
SLOTS = 5  # of `alone_and_together`: graphs of 1, 2, 4 and 5
SCHEDULE = ([0, 1, 2], [4], [2, 0], [3, 4, 0, 1, 2], [2], [1, 4, 3], [0, 2, 4], [2, 3], [0], [2, 1, 0, 4]) * 2
RESETS = {7: 2, 11: 0, 12: 4}  # step of the schedule: slot that a new session takes before it

Codes = npt.NDArray[np.int32]


def run(bench: Bench, tell: Tell) -> None:
    """Checks both caches.

    Raises:
        FailedError: a check fails.
    """
    for kv_dtype in (bench.subject.dtype, torch.int8):
        check_steps(bench.subject, *bench.loaded, kv_dtype, tell)


def check_steps(subject: Subject, ops: Ops, spec: ModelSpec, kv_dtype: torch.dtype, tell: Tell) -> None:
    """Checks steps over keys and values in `kv_dtype`, but for their time.

    Raises:
        FailedError: a check fails.
    """
    cache = name(kv_dtype)
    no_hidden_waits(runner_of(ops, spec, 2, kv_dtype, captured=False))
    runner = runner_of(ops, spec, 2, kv_dtype, captured=True)
    no_hidden_waits(runner)
    tell(f"{cache} cache: no hidden wait for the device in a step, eager or captured")
    for chunk in CHUNKS:
        tell(f"{cache} cache: {rebuilt(runner, steps=3 * max(CHUNKS), chunk=chunk)}")
    del runner
    torch.cuda.empty_cache()
    if kv_dtype != torch.int8 and not subject.fits(SLOTS, kv_dtype):
        tell(f"{cache} cache: sessions among others skipped, keys and values do not fit")
        return
    tell(f"{cache} cache: {alone_and_together(ops, spec, kv_dtype)}")


def no_hidden_waits(runner: ModelRunner) -> None:
    """Steps where PyTorch raises at anything that waits for the device, but for an event: a step's results are one.

    Raises:
        FailedError: something did.
    """
    codes = np.zeros((1, runner.spec.user_codebooks), np.int32)
    for mode in ("default", "error"):  # the first step compiles the kernels
        torch.cuda.set_sync_debug_mode(mode)
        try:
            runner.step([0], codes)
        except RuntimeError as error:
            raise FailedError(f"a step waits for the device: {error}") from error
        finally:
            torch.cuda.set_sync_debug_mode("default")


def rebuilt(runner: ModelRunner, steps: int, chunk: int) -> str:
    """Rebuilds in slot 1 the session of slot 0 from its history, and compares what both make of the next frame.

    Raises:
        FailedError: the rebuilt session is another one.
    """
    runner.reset(0, 0, GREEDY)
    user = np.concatenate(list(frames(runner, steps + 1, 1)))  # [T + 1, user_codebooks]
    replies = [runner.step([0], frame[None]) for frame in user[:steps]]
    past = HistoryTokens(
        steps, user[:steps], np.concatenate([r.text for r in replies]), np.concatenate([r.codes for r in replies])
    )
    start = time.perf_counter()
    rebuild = runner.resume(1, 0, GREEDY, past)
    while rebuild.left:
        rebuild.advance(chunk)
    took_ms = 1e3 * (time.perf_counter() - start)
    runner.step([0, 1], np.repeat(user[steps:], 2, 0))
    unbroken, found = runner.text_logits
    error = float(np.linalg.norm(found - unbroken) / np.linalg.norm(unbroken))
    report = f"rebuilt {steps} steps in chunks of {chunk} in {took_ms:.0f} ms, text logits' relative error {error:.4f}"
    if not error < LOGITS_ERROR:
        raise FailedError(f"{report}; it must stay below {LOGITS_ERROR}")
    return report


@dataclass(frozen=True, slots=True)
class Played:
    """What one step of the schedule gave its n slots."""

    tokens: Codes  # [n, 1 + model_codebooks]
    text_logits: Floats  # [n, text_card]
    held: torch.Tensor  # [n, streams, ring]: what their streams hold after it


def alone_and_together(ops: Ops, spec: ModelSpec, kv_dtype: torch.dtype) -> str:
    """Plays sessions in changing batches, eager and captured, and again each alone with the tokens drawn.

    Raises:
        FailedError: captured tokens are not the eager ones, or a session alone is another one.
    """
    runner = runner_of(ops, spec, SLOTS, kv_dtype, captured=False)
    eager = play(runner)
    del runner  # its keys and values make room
    torch.cuda.empty_cache()
    runner = runner_of(ops, spec, SLOTS, kv_dtype, captured=True)
    captured, alone = play(runner), play(runner, teach=eager)
    for step, (wanted, found) in enumerate(zip(eager, captured, strict=True)):
        if not np.array_equal(wanted.tokens, found.tokens):
            raise FailedError(f"step {step}, of slots {SCHEDULE[step]}, gives other tokens captured than eager")
    difference, same, rows = Difference(), 0, 0
    for wanted, found in zip(eager, alone, strict=True):
        difference.add(wanted.text_logits, found.text_logits)
        same += int((wanted.text_logits == found.text_logits).all(-1).sum())
        rows += len(wanted.text_logits)
    report = (f"{len(SCHEDULE)} steps of changing batches, captured tokens are the eager ones; each session alone: "
              f"text {difference}, {same} of {rows} rows the same to the bit")  # fmt: skip
    if not difference.error < LOGITS_ERROR:
        raise FailedError(f"{report}; the error must stay below {LOGITS_ERROR}")
    return report


def play(runner: ModelRunner, teach: list[Played] | None = None) -> list[Played]:
    """Plays the schedule; with `teach`, one slot a step, which then goes on from the tokens that were drawn there."""
    for slot in range(SLOTS):
        runner.reset(slot, slot, runner.spec.sampling)
    played = []
    for step, (slots, codes) in enumerate(zip(SCHEDULE, frames(runner, len(SCHEDULE), SLOTS), strict=True)):
        if step in RESETS:
            runner.reset(RESETS[step], SLOTS + step, runner.spec.sampling)
        tokens, logits = [], []
        for batch in [slots] if teach is None else [[slot] for slot in slots]:
            result = runner.step(batch, codes[batch])
            tokens.append(np.column_stack((result.text, result.codes)))
            logits.append(runner.text_logits.copy())
        with torch.inference_mode():
            if teach is not None:
                runner.state.tokens[slots] = teach[step].held
            played.append(Played(np.concatenate(tokens), np.concatenate(logits), runner.state.tokens[slots]))
    return played
