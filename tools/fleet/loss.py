"""What the loss of a whole region costs: how long its sessions are silent until they go on in the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from antiphon_cloud.timing import FRAME_S
from tools.fleet.demand import DAY_S, KINDS

if TYPE_CHECKING:
    from tools.fleet.day import Day

NOTICED_S = 0.3  # until an edge knows that its stream is gone: the connection is reset
SPREAD_S = 0.5  # over which edges spread their first try
ROUND_TRIP_S = 0.15  # to another region, for the connection and Open


def lose_region(day: Day, history_s: float | None) -> dict[str, Any]:
    """Loses the region with the most sessions at the hour when all regions have the most; returns the figures.

    Each session goes to a worker as new ones do, but may have its reserve too. There its history is computed beside the
    others' steps, the shortest first. Who finds no place waits for new workers.

    Args:
        day: a fleet whose day has not begun.
        history_s: of the conversation that a resumed session brings; None for all of it.
    """
    random, kind = np.random.default_rng(1), day.kind
    hours = np.arange(0.0, DAY_S, 600.0)
    worst_s = float(max(hours, key=lambda now_s: day.demand.sessions(now_s).sum()))
    day.begin(worst_s)
    for step in range(150):  # until it has settled
        day.step(worst_s + 2.0 * step)
    lost = max(day.regions, key=lambda region: region.held)
    others = [region for region in day.regions if region is not lost]
    utilization = sum(each.held for each in day.regions) / sum((each.free() >= 0).sum() for each in day.regions)
    orphans = lost.lose()
    before = [region.sessions.copy() for region in others]
    homeless = orphans.copy()
    for at, region in enumerate(others):  # the nearest first, then the next
        wanted = homeless // (len(others) - at)
        homeless -= region.admit(wanted, kind.reserve)
    for region in others:
        homeless -= region.admit(homeless, kind.reserve)
    silences = []
    for region, held in zip(others, before, strict=True):
        silences.append(_silences(random, region.sessions - held, kind.prefill_s / kind.prefill_share, history_s))
    silent_s = np.concatenate(silences)
    return {
        "utilization %": round(100 * float(utilization) / kind.slots, 1),
        "sessions moved": len(silent_s),
        "found no place": int(homeless.sum()),
        "silence p50 s": round(float(np.percentile(silent_s, 50)), 2),
        "silence p99 s": round(float(np.percentile(silent_s, 99)), 2),
        "fullest worker": int(max((region.sessions.sum(1)).max() for region in others)),
        "new workers for those without a place are ready after s": kind.ready_s,
    }


def _silences(
    random: np.random.Generator, came: npt.NDArray[np.int64], step_s: float, history_s: float | None
) -> npt.NDArray[np.float64]:
    """Seconds of silence of the sessions that came to each worker [workers, kinds]."""
    workers = np.concatenate([np.repeat(np.arange(len(came)), came[:, kind]) for kind in range(len(KINDS))])
    ages_s = np.concatenate([random.exponential(kind.mean_s, came[:, at].sum()) for at, kind in enumerate(KINDS)])
    work_s = np.minimum(ages_s, history_s or np.inf) / FRAME_S * step_s
    order = np.lexsort((work_s, workers))
    workers, done_s = workers[order], np.cumsum(work_s[order])
    first = np.flatnonzero(np.diff(workers, prepend=-1))
    waited_s = done_s - np.repeat(done_s[first] - work_s[order][first], np.diff(np.append(first, len(workers))))
    arrival_s = NOTICED_S + random.uniform(0.0, SPREAD_S, len(workers)) + ROUND_TRIP_S
    return np.asarray(arrival_s + waited_s)
