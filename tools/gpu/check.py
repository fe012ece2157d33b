"""Everything that only a GPU can show, in one command. Paste its output into an issue.

    python -m tools.gpu.check [--model DIR]

Builds the random 7B unless given a model, then: tokens and logits against the CPU's, both hearing the CPU's
conversation. For keys and values in floats and in int8: a whole step where anything that waits for the device, but for
the one wait for its results, is an error; a session rebuilt from its history, in chunks that take either product;
sessions that come and go in batches of changing size, so that graphs of all sizes take turns and pad, captured against
eager token by token, and against each session alone; then batches of 1 to 96, eager against captured: tokens, memory
taken after the warm-up (none may be), p50 and p99, bytes a second against the card's peak and against its own copies.
Fails loudly, at the first check that fails, and where nothing could be timed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from antiphon.errors import AntiphonError
from antiphon.history import HistoryTokens
from antiphon.spec import GREEDY, ModelSpec
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.state import rows_on
from antiphon_cloud.runner.device import named_dtype, step_dtype
from antiphon_cloud.runner.footprint import footprint
from antiphon_cloud.runner.gpus import GPUS, OVERHEAD_PER_MATMUL_S, REACHED, Hardware
from antiphon_cloud.runner.plan import cost, plan
from antiphon_cloud.runner.runner import ModelRunner
from tools.bench.agreement import Difference, Floats, compare, frames
from tools.harness import random_checkpoint

BATCHES = (1, 2, 4, 8, 16, 32, 64, 96)
LOGITS_ERROR = 0.08  # relative: half precision against the CPU's 14 bits
AGREEMENT = 0.8  # of likeliest tokens: random weights have many near-ties
CHUNKS = (64, 128, 384)  # steps of a rebuild at a time: in int8 one tile of our kernel, two of them, and BLAS
STEPS = 100
WARM_UP = 10
SLOTS = 5  # of `alone_and_together`: graphs of 1, 2, 4 and 5
SCHEDULE = ([0, 1, 2], [4], [2, 0], [3, 4, 0, 1, 2], [2], [1, 4, 3], [0, 2, 4], [2, 3], [0], [2, 1, 0, 4]) * 2
RESETS = {7: 2, 11: 0, 12: 4}  # step of the schedule: slot that a new session takes before it

Codes = npt.NDArray[np.int32]


class FailedError(Exception):
    """A check has failed; the message says which, and by how much."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked."""

    directory: ModelDirectory
    dtype: torch.dtype
    quantize: str

    def runner(self, device: str, slots: int) -> ModelRunner:
        """The model, loaded for uncaptured steps."""
        return ModelRunner.load(self.directory, slots, self.dtype, device, quantize=self.quantize, graphs=False)

    def fits(self, slots: int, kv_dtype: torch.dtype) -> bool:
        """Whether keys and values of so many sessions, and of the one that pads, have room beside the weights."""
        device = torch.device("cuda")
        size = footprint(self.directory.config.lm, select(device, self.dtype, self.quantize == "int8"), kv_dtype)
        return size.session * rows_on(device, slots) <= 0.9 * torch.cuda.mem_get_info()[0]


def main() -> None:
    """Runs all checks; exits with status 1 at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory; a random 7B where absent")
    parser.add_argument("--quantize", default="int8", choices=["none", "int8"])
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16"], help="of activations")
    args = parser.parse_args()
    try:
        step_dtype("cuda", args.dtype)
        with tempfile.TemporaryDirectory() as folder:
            if args.model is None:
                args.model = Path(folder) / "moshi-7b"
                random_checkpoint.write(args.model, random_checkpoint.CONFIGS["7b"])
            check(Subject(ModelDirectory.open(args.model), named_dtype(args.dtype), args.quantize))
    except AntiphonError as error:
        sys.exit(f"tools.gpu.check: {error}")
    except FailedError as error:
        sys.exit(f"tools.gpu.check: FAILED: {error}")


def check(subject: Subject) -> None:
    """All checks of one model."""
    copies = copy_bandwidth()
    peak = peak_bandwidth(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1])
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}, copies at "
          f"{copies / 1e9:.0f} GB/s, data sheet {f'{peak / 1e9:.0f} GB/s' if peak else 'unknown'}; "
          f"{subject.directory.name}, weights {subject.quantize}, activations {subject.dtype}")  # fmt: skip
    here = subject.runner("cuda", 2)
    print(same_model(subject.runner("cpu", 1), here, steps=8))
    ops, spec = here.ops, here.spec
    del here  # its keys and values make room for those of the next runners
    torch.cuda.empty_cache()
    for kv_dtype in (subject.dtype, torch.int8):
        check_steps(subject, ops, spec, kv_dtype)
    time_all(subject, ops, spec, copies, peak)
    print("tools.gpu.check: passed")


def check_steps(subject: Subject, ops: Ops, spec: ModelSpec, kv_dtype: torch.dtype) -> None:
    """Checks steps over keys and values in `kv_dtype`, but for their time."""
    no_hidden_waits(runner_of(ops, spec, 2, kv_dtype, captured=False))
    runner = runner_of(ops, spec, 2, kv_dtype, captured=True)
    no_hidden_waits(runner)
    print(f"{name(kv_dtype)} cache: no hidden wait for the device in a step, eager or captured")
    for chunk in CHUNKS:
        print(f"{name(kv_dtype)} cache: {rebuilt(runner, steps=3 * max(CHUNKS), chunk=chunk)}")
    del runner
    torch.cuda.empty_cache()
    if kv_dtype != torch.int8 and not subject.fits(SLOTS, kv_dtype):
        print(f"{name(kv_dtype)} cache: sessions among others skipped, keys and values do not fit")
        return
    print(f"{name(kv_dtype)} cache: {alone_and_together(ops, spec, kv_dtype)}")


def runner_of(ops: Ops, spec: ModelSpec, slots: int, kv_dtype: torch.dtype, captured: bool) -> ModelRunner:
    """A runner of the loaded model.

    Raises:
        FailedError: it steps in another way than was asked for.
    """
    runner = ModelRunner(ops, slots, spec, kv_dtype, graphs=captured)
    if runner.graph_runner is None or runner.captured != captured:
        raise FailedError(f"a runner of {slots} slots has no {name_of(captured)} steps")
    return runner


def same_model(there: ModelRunner, here: ModelRunner, steps: int) -> str:
    """Compares tokens and logits of two runners while both hear what `there` says.

    Raises:
        FailedError: `here` is not the same model.
    """
    text, codes = compare(there, here, steps)
    report = f"against the CPU over {steps} steps: {text} text; {codes} codes"
    if not max(text.error, codes.error) < LOGITS_ERROR:
        raise FailedError(f"{report}; errors must stay below {LOGITS_ERROR}")
    if not min(text.top_1, codes.top_1) >= AGREEMENT:
        raise FailedError(f"{report}; at least {AGREEMENT} must be the same")
    return report


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


def time_all(subject: Subject, ops: Ops, spec: ModelSpec, copies: float, peak: float | None) -> None:
    """Prints the table: every batch, in both caches, eager and captured.

    Raises:
        FailedError: captured steps give other tokens than eager ones, or no batch fits.
    """
    config, int8 = subject.directory.config.lm, subject.quantize == "int8"
    machine = Hardware(
        "here", torch.cuda.mem_get_info()[1], copies, math.inf, OVERHEAD_PER_MATMUL_S
    )  # no arithmetic: it reads
    print("batch  cache     mode      p50 ms  p99 ms  GB/s  of peak  of copies  predicted ms")
    for kv_dtype in (subject.dtype, torch.int8):
        needed = cost(config, subject.dtype, "cuda", int8=int8, kv_dtype=kv_dtype)
        timed = 0
        for batch in BATCHES:
            if not subject.fits(batch, kv_dtype):
                print(f"{batch:5}  {name(kv_dtype):8}  skipped: keys and values do not fit")
                continue
            tokens = {}
            for captured in (False, True):
                mode = name_of(captured)
                runner = runner_of(ops, spec, batch, kv_dtype, captured)
                times, tokens[mode] = time_steps(runner)
                p50, p99 = np.percentile(times, [50, 99])
                filled = (STEPS / 2 + WARM_UP) / config.context
                read = (needed.matrices_bytes + batch * filled * needed.session_bytes) / (p50 / 1e3)
                predicted = 1e3 * needed.step_s(machine, batch, filled)
                print(f"{batch:5}  {name(kv_dtype):8}  {mode:8} {p50:7.2f} {p99:7.2f} {read / 1e9:6.0f} "
                      f"{f'{read / peak:8.2f}' if peak else '       ?'} {read / copies:10.2f} {predicted:13.2f}",
                      flush=True)  # fmt: skip
                del runner
                torch.cuda.empty_cache()
            if not np.array_equal(tokens["eager"], tokens["captured"]):
                raise FailedError(f"captured steps of batch {batch} give other tokens than eager ones")
            timed += 1
        if not timed:
            raise FailedError(f"nothing was timed: not even one session's keys and values in {name(kv_dtype)} fit")
        print(f"plan: {plan(needed, machine)}")


def time_steps(runner: ModelRunner) -> tuple[list[float], Codes]:
    """Milliseconds of each step after the warm-up, and all tokens.

    Raises:
        FailedError: logits are no numbers, a captured step's output moves, or a step takes memory from the device.
    """
    for slot in range(runner.slots):
        runner.reset(slot, slot, runner.spec.sampling)
    times, tokens, outputs, allocations = [], [], set(), 0
    for step, codes in enumerate(frames(runner, STEPS + WARM_UP, runner.slots)):
        if step == WARM_UP:
            allocations = device_allocations()
        start = time.perf_counter()
        result = runner.step(range(runner.slots), codes)
        times.append(1e3 * (time.perf_counter() - start))
        tokens.append(np.column_stack((result.text, result.codes)))
        if not result.finite.all():
            raise FailedError(f"logits of step {len(times)} are no numbers")
        outputs.add(runner.last_output.tokens.data_ptr())
    if runner.captured and len(outputs) > 1:
        raise FailedError(f"the output of captured steps was at {len(outputs)} places")
    if (more := device_allocations() - allocations) > 0:
        raise FailedError(f"{STEPS} steps after the warm-up took memory from the device {more} times")
    return times[WARM_UP:], np.stack(tokens)


def device_allocations() -> int:
    """How often memory was taken from the device so far."""
    return int(torch.cuda.memory_stats()["num_device_alloc"])


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


def peak_bandwidth(card: str, memory_bytes: int) -> float | None:
    """The data sheet's bytes a second of a card that `plan` knows; None of one of the same name with other memory."""
    known = [GPUS[gpu_name] for gpu_name in GPUS if gpu_name in card.replace("-", " ").split()]
    if not known or "PCIe" in card or abs(memory_bytes / known[0].memory_bytes - 1) > 0.1:
        return None
    return known[0].bandwidth / REACHED


def name(dtype: torch.dtype) -> str:
    """As people write it."""
    return str(dtype).removeprefix("torch.")


def name_of(captured: bool) -> str:
    """How steps are taken, as people write it."""
    return "captured" if captured else "eager"


if __name__ == "__main__":
    main()
