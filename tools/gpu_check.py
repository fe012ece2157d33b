"""gpu_check.py [--model DIR]: everything that only a GPU can show, in one command. Paste its output into an issue.

Builds the random 7B unless given a model, then: tokens and logits against the CPU's, both hearing the CPU's
conversation; a step where anything that waits for the device is an error; a session rebuilt from its history, in chunks
that take either product; eager against captured steps, token by token; times of both for batches of 1 to 64 with p50
and p99; bytes a second against the card's peak and against its own copies. Fails loudly, at the first check that fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import random_checkpoint
from agreement import compare, frames
from antiphon.errors import AntiphonError
from antiphon.history import PastTokens
from antiphon.spec import GREEDY, ModelSpec
from antiphon_cloud.cache import State, rows_on
from antiphon_cloud.footprint import footprint
from antiphon_cloud.lm import LanguageModel
from antiphon_cloud.machine import GPUS, REACHED, gpu
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.plan import cost, plan
from antiphon_cloud.runner import Runner
from antiphon_cloud.serving import named_dtype, torch_setup

BATCHES = (1, 2, 4, 8, 16, 32, 64)
LOGITS_ERROR = 0.08  # relative: half precision against the CPU's 14 bits
AGREEMENT = 0.8  # of likeliest tokens: random weights have many near-ties
CHUNKS = (64, 128)  # steps of a rebuild at a time: in int8 our kernel multiplies the one, BLAS the other
STEPS = 100
WARM_UP = 10

Codes = npt.NDArray[np.int32]


class FailedError(Exception):
    """A check has failed; the message says which, and by how much."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked."""

    directory: ModelDirectory
    dtype: torch.dtype
    quantize: str

    def runner(self, device: str, slots: int, cache: torch.dtype | None = None) -> Runner:
        """The model, loaded for uncaptured steps."""
        return Runner.load(self.directory, slots, self.dtype, device, quantize=self.quantize, cache=cache, graphs=False)


def main() -> None:
    """Runs all checks; exits with status 1 at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory; a random 7B where absent")
    parser.add_argument("--quantize", default="int8", choices=["none", "int8"])
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16"], help="of activations")
    args = parser.parse_args()
    try:
        torch_setup("cuda", args.dtype, None, args.quantize == "int8")
        with tempfile.TemporaryDirectory() as folder:
            if args.model is None:
                args.model = Path(folder) / "moshi-7b"
                random_checkpoint.write(args.model, random_checkpoint.CONFIGS["7b"])
            check(Subject(ModelDirectory.open(args.model), named_dtype(args.dtype), args.quantize))
    except AntiphonError as error:
        sys.exit(f"gpu_check: {error}")
    except FailedError as error:
        sys.exit(f"gpu_check: FAILED: {error}")


def check(subject: Subject) -> None:
    """All checks of one model."""
    copies, peak = copy_bandwidth(), peak_bandwidth(torch.cuda.get_device_name())
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}, copies at "
          f"{copies / 1e9:.0f} GB/s, data sheet {f'{peak / 1e9:.0f} GB/s' if peak else 'unknown'}; "
          f"{subject.directory.name}, weights {subject.quantize}, activations {subject.dtype}")  # fmt: skip
    here = subject.runner("cuda", 2)
    print(same_model(subject.runner("cpu", 1), here, steps=8))
    for cache in (subject.dtype, torch.int8):
        no_hidden_waits(here.model, cache)
    print("no hidden wait for the device in a step")
    for chunk in CHUNKS:
        print(rebuilt(here, steps=3 * max(CHUNKS), chunk=chunk))
    model, spec = here.model, here.spec
    del here  # its keys and values make room for those of the timed batches
    torch.cuda.empty_cache()
    time_all(subject, model, spec, copies, peak)
    print("gpu_check: passed")


def same_model(there: Runner, here: Runner, steps: int) -> str:
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


def no_hidden_waits(model: LanguageModel, cache: torch.dtype) -> None:
    """Steps where PyTorch raises at anything that waits for the device.

    Raises:
        FailedError: something did.
    """
    from antiphon_cloud.kernels import ring_attention

    device = torch.device("cuda")
    with torch.inference_mode():
        state = State.allocate(model.config, 2, model.dtype, device, cache)
        slots = torch.zeros(1, dtype=torch.int64, device=device)
        codes = torch.zeros(1, model.config.user_codebooks, dtype=torch.int64, device=device)
        for mode in ("default", "error"):  # the first step compiles the kernels
            torch.cuda.set_sync_debug_mode(mode)
            try:
                model.step(state, slots, codes, ring_attention.attend(state.ring, slots, state.offsets[slots]))
            except RuntimeError as error:
                raise FailedError(f"a step waits for the device: {error}") from error
            finally:
                torch.cuda.set_sync_debug_mode("default")


def rebuilt(runner: Runner, steps: int, chunk: int) -> str:
    """Rebuilds in slot 1 the session of slot 0 from its history, and compares what both make of the next frame.

    Raises:
        FailedError: the rebuilt session is another one.
    """
    runner.reset(0, 0, GREEDY)
    user = np.concatenate(list(frames(runner, steps + 1, 1)))  # [T + 1, user_codebooks]
    told = [runner.step([0], frame[None]) for frame in user[:steps]]
    past = PastTokens(
        steps, user[:steps], np.concatenate([r.text for r in told]), np.concatenate([r.codes for r in told])
    )
    start = time.perf_counter()
    rebuild = runner.rebuild(1, 0, GREEDY, past)
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


def time_all(subject: Subject, model: LanguageModel, spec: ModelSpec, copies: float, peak: float | None) -> None:
    """Prints the table: every batch, in both caches, eager and captured.

    Raises:
        FailedError: captured steps give other tokens than eager ones.
    """
    config, device, int8 = subject.directory.config.lm, torch.device("cuda"), subject.quantize == "int8"
    machine = gpu("here", torch.cuda.mem_get_info()[1] / 1e9, copies / 1e9, 1e6)
    print("batch  cache     mode      p50 ms  p99 ms  GB/s  of peak  of copies  predicted ms")
    for cache in (subject.dtype, torch.int8):
        needed = cost(config, subject.dtype, "cuda", int8=int8, cache=cache)
        for batch in BATCHES:
            size = footprint(config, subject.dtype, device, int8=int8, cache=cache)
            if size.session * rows_on(device, batch) > 0.9 * torch.cuda.mem_get_info()[0]:
                print(f"{batch:5}  {name(cache):8}  skipped: keys and values do not fit")
                continue
            tokens = {}
            for mode in ("eager", "captured"):
                runner = Runner(model, batch, spec, cache, graphs=mode == "captured")
                times, tokens[mode] = time_steps(runner)
                p50, p99 = np.percentile(times, [50, 99])
                filled = (STEPS / 2 + WARM_UP) / config.context
                read = (needed.matrices_bytes + batch * filled * needed.session_bytes) / (p50 / 1e3)
                predicted = 1e3 * needed.step_s(machine, batch, filled)
                print(f"{batch:5}  {name(cache):8}  {mode:8} {p50:7.2f} {p99:7.2f} {read / 1e9:6.0f} "
                      f"{f'{read / peak:8.2f}' if peak else '       ?'} {read / copies:10.2f} {predicted:13.2f}",
                      flush=True)  # fmt: skip
                del runner
                torch.cuda.empty_cache()
            if not np.array_equal(tokens["eager"], tokens["captured"]):
                raise FailedError(f"captured steps of batch {batch} give other tokens than eager ones")
        print(f"plan: {plan(needed, machine)}")


def time_steps(runner: Runner) -> tuple[list[float], Codes]:
    """Milliseconds of each step after the warm-up, and all tokens.

    Raises:
        FailedError: logits are no numbers.
    """
    for slot in range(runner.slots):
        runner.reset(slot, slot, runner.spec.sampling)
    times, tokens = [], []
    for codes in frames(runner, STEPS + WARM_UP, runner.slots):
        start = time.perf_counter()
        result = runner.step(range(runner.slots), codes)
        times.append(1e3 * (time.perf_counter() - start))
        tokens.append(np.column_stack((result.text, result.codes)))
        if not result.finite.all():
            raise FailedError(f"logits of step {len(times)} are no numbers")
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


def peak_bandwidth(card: str) -> float | None:
    """The data sheet's bytes a second of a card that `plan` knows."""
    known = [gpu_name for gpu_name in GPUS if gpu_name in card.replace("-", " ").split()]
    return GPUS[known[0]].bandwidth / REACHED if known else None


def name(dtype: torch.dtype) -> str:
    """As people write it."""
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
