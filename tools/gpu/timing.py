"""The stage `timing`: milliseconds of a step, batch by batch, in both caches, eager and captured.

Captured steps must give the eager ones' tokens, no memory may be taken after the warm-up, and something must be timed.
Each line is told as it is found, so that a stage that is cut short leaves a table.
"""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
import torch

from antiphon.spec import ModelSpec
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.cost import cost
from antiphon_cloud.runner.gpus import LAUNCH_S, Hardware
from antiphon_cloud.runner.plan import plan
from antiphon_cloud.runner.runner import ModelRunner
from tools.bench.agreement import frames
from tools.gpu.bandwidth import copy_bandwidth, peak_bandwidth
from tools.gpu.subject import Bench, FailedError, Subject, Tell, name, name_of, runner_of

BATCHES = (1, 2, 4, 8, 16, 32, 64, 96)
STEPS = 100
WARM_UP = 10

Codes = npt.NDArray[np.int32]


def run(bench: Bench, tell: Tell) -> None:
    """Times every batch that fits.

    Raises:
        FailedError: see `time_all`.
    """
    ops, spec = bench.loaded
    peak = peak_bandwidth(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1])
    time_all(bench.subject, ops, spec, copy_bandwidth(), peak, tell)


def time_all(subject: Subject, ops: Ops, spec: ModelSpec, copies: float, peak: float | None, tell: Tell) -> None:
    """Tells the table line by line: every batch, in the cache that is served first, eager and captured.

    Raises:
        FailedError: captured steps give other tokens than eager ones, told once all is timed; or no batch fits.
    """
    config, int8 = subject.directory.config.lm, subject.quantize == "int8"
    # no arithmetic: it reads
    machine = Hardware("here", torch.cuda.mem_get_info()[1], copies, math.inf, LAUNCH_S)
    filled = (STEPS / 2 + WARM_UP) / config.context
    different: list[str] = []
    tell("batch  cache     mode      p50 ms  p99 ms  GB/s  of peak  of copies  predicted ms")
    for kv_dtype in (torch.int8, subject.dtype):
        needed = cost(config, subject.dtype, "cuda", int8=int8, kv_dtype=kv_dtype)
        timed, cache = 0, name(kv_dtype)
        for batch in BATCHES:
            if not subject.fits(batch, kv_dtype):
                tell(f"{batch:5}  {cache:8}  skipped: keys and values do not fit")
                continue
            tokens = {}
            for captured in (False, True):
                mode = name_of(captured)
                runner = runner_of(ops, spec, batch, kv_dtype, captured)
                times, tokens[mode] = time_steps(runner)
                p50, p99 = map(float, np.percentile(times, [50, 99]))
                read = (needed.size.matrices + batch * filled * needed.size.session) / (p50 / 1e3)
                predicted = 1e3 * needed.step_s(machine, batch, filled)
                tell(f"{batch:5}  {cache:8}  {mode:8} {p50:7.2f} {p99:7.2f} {read / 1e9:6.0f} "
                     f"{f'{read / peak:8.2f}' if peak else '       ?'} {read / copies:10.2f} {predicted:13.2f}",
                     kind="step", batch=batch, cache=cache, mode=mode, p50_ms=p50, p99_ms=p99, gb_s=read / 1e9,
                     of_copies=read / copies, predicted_ms=predicted)  # fmt: skip
                del runner
                torch.cuda.empty_cache()
            if not np.array_equal(tokens["eager"], tokens["captured"]):
                different.append(f"captured steps of batch {batch} give other tokens than eager ones ({cache} cache)")
            timed += 1
        if not timed:
            raise FailedError(f"nothing was timed: not even one session's keys and values in {cache} fit")
        tell(f"plan: {plan(needed, machine)}")
    if different:
        raise FailedError("; ".join(different))


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
