"""What the loss of a whole region costs: how long its sessions are silent until they go on in the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from antiphon_cloud.timing import FRAME_S
from tools.fleet.demand import DAY_S, KINDS

if TYPE_CHECKING:
    from tools.fleet.day import Day

Floats = npt.NDArray[np.float64]

NOTICED_S = 0.3  # until an edge knows that its stream is gone: the connection is reset
SPREAD_S = 0.5  # over which edges spread their first try
ROUND_TRIP_S = 0.15  # to another region, for the connection and Open
HISTORY_S = 4096 * FRAME_S  # that an edge keeps at most
SETTLE_S = 300.0
ROUNDS, RETRY_S = 4, 1.0  # of an edge whom full workers have refused: how often it comes again, and after how long


@dataclass(frozen=True, slots=True)
class Resume:
    """How a session of a lost worker goes on.

    Args:
        reserve: places of each worker, beyond its slots, for such sessions.
        first_s: of the conversation that is computed before the session speaks again; None for all of it.
        share: of a worker's time for that; None for what it gives to histories in peace.
    """

    reserve: int
    first_s: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of the sessions of the region that was lost."""

    utilization: float  # of the slots of all regions, before
    silent_s: Floats  # [sessions]; who found no place was silent until new workers were ready
    homeless: int  # who found no place at first
    whole_s: Floats  # until the rest of the history is computed, too [sessions]
    fullest: int  # sessions of the fullest worker afterwards

    def figures(self) -> dict[str, Any]:
        """For people."""
        return {
            "utilization %": round(100 * self.utilization, 1),
            "sessions moved": len(self.silent_s),
            "found no place at once": self.homeless,
            "conversations lost": 0,
            "silence p50 s": round(float(np.percentile(self.silent_s, 50)), 2),
            "silence p99 s": round(float(np.percentile(self.silent_s, 99)), 2),
            "whole again p99 s": round(float(np.percentile(self.whole_s, 99)), 1),
            "fullest worker": self.fullest,
        }


def lose_region(day: Day, resume: Resume) -> Loss:
    """Loses the region with the most sessions at the hour when all regions have the most.

    Each session goes to a worker as new ones do, but may have its reserve too. There its history is computed beside the
    others' steps, the shortest first. Who finds no place waits for new workers; no conversation is lost, since the edge
    has it.

    Args:
        day: a fleet whose day has not begun.
        resume: how its sessions go on.
    """
    from tools.fleet.day import STEP_S

    random, kind = np.random.default_rng(1), day.kind
    hours = np.arange(0.0, DAY_S, 600.0)
    worst_s = float(max(hours, key=lambda now_s: day.demand.sessions(now_s).sum()))
    day.begin(worst_s)
    for step in range(round(SETTLE_S / STEP_S)):
        day.step(worst_s + STEP_S * step)
    lost = max(day.regions, key=lambda region: region.held)
    others = [region for region in day.regions if region is not lost]
    utilization = sum(each.held for each in day.regions) / sum(each.places for each in day.regions)
    before = [region.sessions.copy() for region in others]
    homeless, late = lost.lose(), [0] * len(others)
    for again in range(ROUNDS):
        for at, region in enumerate(others):  # as much to each, then what is left
            wanted = homeless // (len(others) - at) if again == 0 else homeless
            taken = region.admit(wanted, resume.reserve)
            homeless -= taken
            late[at] += int(taken.sum()) if again else 0
    silences, wholes = [], []
    share = resume.share or kind.prefill_share
    for region, held, came_late in zip(others, before, late, strict=True):
        workers, ages_s = _histories(random, region.sessions - held)
        first_s = np.minimum(ages_s, resume.first_s or np.inf)
        begun_s = NOTICED_S + random.uniform(0.0, SPREAD_S, len(workers)) + ROUND_TRIP_S
        begun_s[random.permutation(len(workers))[:came_late]] += RETRY_S
        silent_s = begun_s + queued(workers, (first_s / FRAME_S * kind.prefill_s + kind.chunk_s) / share)
        rest_s = (ages_s - first_s) / FRAME_S * kind.prefill_s / kind.prefill_share
        silences.append(silent_s)
        wholes.append(silent_s + queued(workers, rest_s))
    waiting_s = np.full(int(homeless.sum()), NOTICED_S + ROUND_TRIP_S + kind.ready_s)
    return Loss(
        float(utilization),
        np.concatenate([*silences, waiting_s]),
        len(waiting_s),
        np.concatenate([*wholes, waiting_s]),
        int(max(region.total.max() for region in others)),
    )


def queued(workers: npt.NDArray[np.int64], work_s: Floats) -> Floats:
    """When each piece of work is done [sessions]: each worker does its own one after the other, the shortest first.

    Args:
        workers: whose each is [sessions].
        work_s: how long each takes [sessions].
    """
    order = np.lexsort((work_s, workers))
    sorted_workers, done_s = workers[order], np.cumsum(work_s[order])
    first = np.flatnonzero(np.diff(sorted_workers, prepend=-1))
    counts = np.diff(np.append(first, len(workers)))
    result = np.empty(len(workers))
    result[order] = done_s - np.repeat(done_s[first] - work_s[order][first], counts)
    return result


def _histories(random: np.random.Generator, came: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Floats]:
    """The worker and the length of the history in seconds of each session that came to one.

    Args:
        random: draws the ages.
        came: sessions of each kind and worker [kinds, workers].
    """
    workers = np.concatenate([np.repeat(np.arange(came.shape[1]), kind) for kind in came])
    ages_s = np.concatenate([random.exponential(KINDS[at].mean_s, kind.sum()) for at, kind in enumerate(came)])
    return workers, np.minimum(ages_s, HISTORY_S)
