"""What it is worth that a session whose stream breaks finds its own worker again: resume affinity.

The own worker has kept its slot, and goes on at once. Any other computes the history first, beside the sessions that it
has and after those whose streams broke before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from antiphon_cloud.timing import FRAME_S
from tools.fleet.demand import KINDS
from tools.fleet.loss import HISTORY_S, NOTICED_S, ROUND_TRIP_S
from tools.fleet.worker import WorkerKind

BREAKS = 200_000  # that are played


def breaks(kind: WorkerKind, per_hour: float, found: float, utilization: float = 0.8) -> dict[str, Any]:
    """Silence of the sessions of one worker.

    Args:
        kind: of the worker.
        per_hour: breaks of a session.
        found: share of them that reach their own worker in time.
        utilization: of the slots.
    """
    random = np.random.default_rng(2)
    held = np.array([each.share * each.mean_s for each in KINDS])
    means_s = np.array([each.mean_s for each in KINDS])[random.choice(len(KINDS), BREAKS, p=held / held.sum())]
    ages_s = np.minimum(random.exponential(means_s), HISTORY_S)  # memoryless: as old as what is left of them
    away = random.random(BREAKS) >= found
    work_s = np.where(away, (ages_s / FRAME_S * kind.prefill_s + kind.chunk_s) / kind.prefill_share, 0.0)
    gaps_s = random.exponential(3600 / (per_hour * kind.slots * utilization), BREAKS)
    arrived_s = np.cumsum(gaps_s)
    done_s = np.cumsum(work_s)  # were there no gaps: what is waited for follows from the largest surplus so far
    begun_s = np.maximum.accumulate(arrived_s - (done_s - work_s))
    silent_s = NOTICED_S + ROUND_TRIP_S + begun_s + done_s - arrived_s
    return {
        "breaks an hour": per_hour,
        "own worker %": round(100 * found),
        "of the time for histories %": round(100 * float(work_s.sum() / arrived_s[-1]), 1),
        "silence p50 s": round(float(np.percentile(silent_s, 50)), 2),
        "silence p99 s": round(float(np.percentile(silent_s, 99)), 2),
    }
