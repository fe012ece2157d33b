"""Measures a step's time by the number of sessions, before the first session starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

import numpy as np

from antiphon_cloud.engine.runner import Runner
from antiphon_cloud.timing import FRAME_MS, STEP_BUDGET_MS

logger = logging.getLogger(__name__)

WARM_UP_STEPS = 2  # the first ones allocate, compile and fault pages in
MEASURED_STEPS = 7
LONGEST_MS = 1000.0  # a longer step is not repeated


def profile_steps(
    runner: Runner,
    budget_ms: float = STEP_BUDGET_MS,
    clock_s: Callable[[], float] = time.perf_counter,
    padded: Collection[int] = (),
) -> dict[int, float]:
    """Batch → the milliseconds of a step over that many sessions, for powers of two up to all slots.

    Where steps are padded, one session beyond a batch costs as much as the next one: that is measured too, so that
    what lies between is not taken for a mean.

    Takes the fastest of a few steps, as other work of the machine only adds to a step's time; admission learns from
    live steps how much. Stops at the first batch above the budget, as larger ones are slower. Warms the model up too.

    Args:
        runner: idle; every session resets its slot before it uses it.
        budget_ms: a step's time limit.
        clock_s: for tests.
        padded: the batches that steps are padded to, if they are.
    """
    profile: dict[int, float] = {}
    for batch in _batches(runner.slots, padded):
        profile[batch] = _fastest_ms(runner, batch, clock_s)
        if profile[batch] > budget_ms:
            break
    _tell(profile, runner.slots, budget_ms)
    return profile


def _batches(slots: int, padded: Collection[int]) -> list[int]:
    powers = {2**exponent for exponent in range(slots.bit_length())}
    beyond = {batch + 1 for batch in padded if batch < slots}
    return sorted(powers | beyond | {slots})


def _fastest_ms(runner: Runner, batch: int, clock_s: Callable[[], float]) -> float:
    slots = range(batch)
    for slot in slots:
        runner.reset(slot, 0, runner.spec.sampling)
    codes = np.zeros((batch, runner.spec.user_codebooks), np.int32)
    times_ms: list[float] = []
    for _ in range(WARM_UP_STEPS + MEASURED_STEPS):
        start_s = clock_s()
        runner.step(slots, codes)
        times_ms.append((clock_s() - start_s) * 1e3)
        if times_ms[-1] > LONGEST_MS and len(times_ms) > WARM_UP_STEPS:
            break
    return min(times_ms[WARM_UP_STEPS:])


def _tell(profile: dict[int, float], slots: int, budget_ms: float) -> None:
    within = [batch for batch, step_ms in profile.items() if step_ms <= budget_ms]
    if len(within) == len(profile):
        logger.info("a step over all %d slots takes %.0f ms", slots, profile[slots])
    elif within:
        slow = max(profile)
        logger.warning(
            "a step over %d sessions takes %.0f ms, over %d it takes %.0f: not all %d slots can be used, since a step "
            "may take %.0f",
            within[-1], profile[within[-1]], slow, profile[slow], slots, budget_ms,
        )  # fmt: skip
    else:
        logger.warning(
            "a step takes %.0f ms for one session alone, where a frame lasts %.0f: this worker serves one session at a "
            "time%s; use a faster device, --quantize int8, a smaller model, or "
            "on a CPU that has other work too, fewer --threads",
            profile[1], FRAME_MS, ", slower than real time" if profile[1] > FRAME_MS else "",
        )  # fmt: skip
