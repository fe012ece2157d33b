"""How long scaling takes, and what that costs when a crowd comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tools.fleet.day import STEP_S, Day, Rules
from tools.fleet.demand import CROWD_S, Demand
from tools.fleet.worker import WorkerKind

BEFORE_S = 600.0  # that are played first


def crowd(kind: WorkerKind, workers: int, demand: Demand, rules: Rules, ready_s: float) -> dict[str, Any]:
    """Plays the time from before a crowd to after it, with workers that are ready so long after they are wished for.

    Args:
        kind: of the workers.
        workers: machines of all regions.
        demand: with a crowd.
        rules: how the fleet is run.
        ready_s: from the wish for a worker to its first session.
    """
    assert demand.crowd_at_s is not None, "there is one"
    day = Day(replace(kind, ready_s=ready_s), workers, demand, rules)
    begin_s, end_s = demand.crowd_at_s - BEFORE_S, demand.crowd_at_s + CROWD_S
    day.begin(begin_s)
    short_s = 0.0  # for so long the first region had no more free slots than it keeps
    step_s = begin_s
    while step_s < end_s:
        day.step(step_s)
        step_s += STEP_S
        region = day.regions[0]
        short_s += STEP_S * (region.places - region.held < (1 - rules.target) / 2 * region.places)
    outcome = day.outcome
    return {
        "ready after s": ready_s,
        "target": rules.target,
        "refused %": round(100 * outcome.refused / outcome.arrived, 3),
        "waited %": round(100 * outcome.waited / outcome.arrived, 3),
        "served elsewhere %": round(100 * outcome.elsewhere / outcome.arrived, 3),
        "less than half of the spare slots for s": short_s,
    }
