"""A day of a fleet, played in steps of 5 s.

Sessions come as `demand` says and are placed as Envoy, chance or bin packing would. Workers start and drain as an
autoscaler on the share of places taken would have it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tools.fleet.demand import KINDS, Demand
from tools.fleet.placement import POLICIES
from tools.fleet.region import Region, State
from tools.fleet.worker import WorkerKind

STEP_S = 5.0
SCALE_S = 15.0  # between two looks of the autoscaler
STABLE_S = 300.0  # for so long fewer workers must do before some are drained
PATIENCE_STEPS = 2  # of who waits for a place: 10 s
SHARES = np.array([kind.share for kind in KINDS])


@dataclass(frozen=True, slots=True)
class Rules:
    """How a fleet is run.

    Args:
        placement: of new sessions, a key of `POLICIES`.
        target: share of the places of all workers that are up which the autoscaler wants taken.
        hand_over: whether sessions of a draining worker are moved; else it waits until they end.
        kept: slots of each worker that only sessions may take which go on, as `serve --reserve-resume` has it.
    """

    placement: str = "least request"
    target: float = 0.85
    hand_over: bool = True
    kept: int = 0


@dataclass(slots=True)
class Outcome:
    """What a day was like."""

    rules: Rules
    arrived: int = 0
    refused: int = 0
    waited: int = 0  # that had to wait, a step or more, and were served
    elsewhere: int = 0  # that another region served
    session_hours: float = 0.0
    worker_hours: float = 0.0
    place_hours: float = 0.0  # of workers that were up
    moved: int = 0
    started: int = 0
    most_sessions: int = 0
    most_workers: int = 0

    def figures(self, kind: WorkerKind) -> dict[str, Any]:
        """For people."""
        return asdict(self.rules) | {
            "arrived": self.arrived,
            "refused %": round(100 * self.refused / self.arrived, 4),
            "waited %": round(100 * self.waited / self.arrived, 4),
            "served elsewhere %": round(100 * self.elsewhere / self.arrived, 3),
            "utilization %": round(100 * self.session_hours / self.place_hours, 1),
            "cost of a session hour": round(self.worker_hours * kind.cost_per_hour / self.session_hours, 4),
            "moved in 1,000 sessions": round(1000 * self.moved / self.arrived, 2),
            "workers started": self.started,
            "sessions at most": self.most_sessions,
            "workers at most": self.most_workers,
        }


class Day:
    """A day of a fleet.

    Args:
        kind: of the workers.
        workers: machines of all regions together.
        demand: who calls.
        rules: how it is run.
        seed: of all chance.
    """

    def __init__(self, kind: WorkerKind, workers: int, demand: Demand, rules: Rules, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self.kind, self.demand, self.rules = kind, demand, rules
        each, place = workers // len(demand.weights), POLICIES[rules.placement]
        self.regions = [Region(self._random, kind, each, place) for _ in demand.weights]
        self.outcome = Outcome(rules)
        self.waiting = np.zeros((len(self.regions), PATIENCE_STEPS, len(KINDS)), np.int64)  # by how long they wait
        self._fewer_since_s = np.zeros(len(self.regions))
        self._scale_at_s = 0.0
        self.track: list[tuple[float, int, int, int]] = []  # hour, sessions, places, workers

    def begin(self, now_s: float) -> None:
        """Puts the fleet where it stands at a time of the day."""
        for region, sessions in zip(self.regions, self.demand.sessions(now_s), strict=True):
            region.scale(self._wanted(sessions), now_s - self.kind.ready_s)
            region.pass_time(now_s, 0.0)
            weights = SHARES * [kind.mean_s for kind in KINDS]
            region.admit((sessions * weights / weights.sum()).astype(np.int64), kept=self.rules.kept)

    def play(self, begin_s: float, end_s: float) -> Outcome:
        """Plays from one time to another."""
        for step in range(round((end_s - begin_s) / STEP_S)):
            self.step(begin_s + step * STEP_S)
        for region in self.regions:
            self.outcome.moved += region.moved_sessions
            self.outcome.started += region.started_workers
        return self.outcome

    def step(self, now_s: float) -> None:
        """A few seconds."""
        for region in self.regions:
            region.pass_time(now_s, STEP_S)
        self._arrive(now_s)
        if now_s >= self._scale_at_s:
            self._scale_at_s = now_s + SCALE_S
            self._scale(now_s)
        self._count(now_s)

    def _arrive(self, now_s: float) -> None:
        outcome = self.outcome
        for at, rate in enumerate(self.demand.rates(now_s)):
            arrived = self._random.poisson(rate * STEP_S * SHARES)
            outcome.arrived += int(arrived.sum())
            waiting = self.waiting[at]
            outcome.refused += int(waiting[-1].sum())
            waiting[1:] = waiting[:-1].copy()
            waiting[0] = arrived
            for age in range(PATIENCE_STEPS - 1, -1, -1):  # whoever waits longest comes first
                for other in range(len(self.regions)):
                    if not waiting[age].any():
                        break
                    taken = self.regions[(at + other) % len(self.regions)].admit(waiting[age], kept=self.rules.kept)
                    waiting[age] -= taken
                    outcome.waited += int(taken.sum()) if age else 0
                    outcome.elsewhere += int(taken.sum()) if other else 0

    def _wanted(self, sessions: float) -> int:
        return int(np.ceil(sessions / (self.kind.slots * self.rules.target)))

    def _scale(self, now_s: float) -> None:
        for at, region in enumerate(self.regions):
            wanted = self._wanted(region.held + int(self.waiting[at].sum()))
            there = region.count(State.UP) + region.count(State.STARTING)
            if wanted >= there:
                self._fewer_since_s[at] = now_s
                region.scale(wanted, now_s)
            elif now_s - self._fewer_since_s[at] >= STABLE_S:
                region.scale(wanted, now_s)
            if self.rules.hand_over:
                region.hand_over()

    def _count(self, now_s: float) -> None:
        outcome, hours = self.outcome, STEP_S / 3600
        held = sum(region.held for region in self.regions)
        up = sum(region.count(State.UP) for region in self.regions)
        running = sum(region.running for region in self.regions)
        outcome.session_hours += held * hours
        outcome.worker_hours += running * hours
        outcome.place_hours += up * self.kind.slots * hours
        outcome.most_sessions = max(outcome.most_sessions, held)
        outcome.most_workers = max(outcome.most_workers, running)
        if now_s % 60 == 0:
            self.track.append((now_s / 3600, held, up * self.kind.slots, running))
