"""A fleet's day: nobody is made or lost by the play, and what it says of policies follows from what it is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tools.fleet.region
from tools.fleet.day import Day, Rules
from tools.fleet.demand import DAY_S, Demand
from tools.fleet.loss import NOTICED_S, ROUND_TRIP_S, lose_region
from tools.fleet.placement import POLICIES, fullest, least_request
from tools.fleet.region import Region, State
from tools.fleet.worker import WorkerKind, predicted

KIND = WorkerKind("even", slots=20, reserve=20, prefill_s=1e-4, prefill_share=0.25, ready_s=60.0, cost_per_hour=2.0)
DEMAND = Demand(peak_sessions=900.0)
NOON_S = DAY_S / 2


def region(workers: int = 4, place: str = "least request") -> Region:
    """With all workers up and empty."""
    made = Region(np.random.default_rng(0), KIND, workers, POLICIES[place])
    made.scale(workers, -KIND.ready_s)
    made.pass_time(0.0, 0.0)
    return made


@pytest.mark.parametrize("place", POLICIES)
def test_whoever_is_admitted_has_a_place_and_nobody_is_admitted_twice(place: str) -> None:
    made = region(place=place)
    taken = sum(made.admit(np.array([10, 5])).sum() for _ in range(9))
    assert made.held == taken <= 4 * KIND.slots
    assert made.sessions.sum(1).max() <= KIND.slots


def test_the_fullest_worker_is_filled_first_and_least_request_fills_evenly() -> None:
    random, held = np.random.default_rng(0), np.array([3, 9, 0, 5])
    free = 10 - held
    assert list(fullest(random, held, free, 4)) == [0, 1, 0, 3]
    given = least_request(random, np.zeros(50, int), np.full(50, 100), 2500)
    assert given.sum() == 2500
    assert given.max() < 100


def test_a_worker_is_up_when_it_is_ready_and_off_when_the_last_session_has_left_it() -> None:
    made = Region(np.random.default_rng(0), KIND, 2, POLICIES["fullest"])
    made.scale(2, 0.0)
    made.pass_time(KIND.ready_s - 1, 1.0)
    assert made.count(State.STARTING) == 2
    assert made.admit(np.array([1, 0])).sum() == 0
    made.pass_time(KIND.ready_s, 1.0)
    assert made.count(State.UP) == 2
    made.admit(np.array([1, 0]))
    made.scale(1, KIND.ready_s)  # the emptiest goes
    made.pass_time(KIND.ready_s, 0.0)
    assert (made.count(State.UP), made.count(State.OFF), made.held) == (1, 1, 1)


def test_sessions_of_a_draining_worker_move_where_there_are_places() -> None:
    made = region(workers=2)
    made.admit(np.array([12, 0]))
    made.scale(1, 0.0)
    held = made.held
    made.hand_over()
    assert made.held == held
    assert made.sessions[made.state == State.DRAINING].sum() == 0
    assert 0 < made.moved_sessions < held


@pytest.mark.parametrize("hand_over", [True, False])
def test_where_nobody_leaves_whoever_arrived_talks_waits_or_was_refused(
    hand_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools.fleet.region, "MEANS_S", np.array([np.inf, np.inf]))
    day = Day(KIND, 60, DEMAND, Rules(hand_over=hand_over))
    day.begin(NOON_S)
    began = sum(each.held for each in day.regions)
    outcome = day.play(NOON_S, NOON_S + 600.0)
    assert outcome.refused > 0
    assert sum(each.held for each in day.regions) - began == outcome.arrived - outcome.refused - day.waiting.sum()


def test_a_fleet_that_is_large_enough_refuses_nobody_and_one_that_is_not_does() -> None:
    def refused(workers: int) -> int:
        day = Day(KIND, workers, DEMAND, Rules())
        day.begin(NOON_S)
        return day.play(NOON_S, NOON_S + 1200).refused

    assert refused(90) == 0
    assert refused(9) > 0


def test_the_same_seed_gives_the_same_day() -> None:
    def play() -> dict[str, object]:
        day = Day(KIND, 30, DEMAND, Rules())
        day.begin(0.0)
        return day.play(0.0, 600.0).figures(KIND)

    assert play() == play()


def test_a_lost_regions_sessions_are_silent_for_as_long_as_their_histories_take() -> None:
    def silence_s(history_s: float | None, kind: WorkerKind = KIND) -> float:
        told = lose_region(Day(kind, 90, DEMAND, Rules()), history_s)
        assert told["found no place"] == 0
        return float(told["silence p99 s"])

    assert silence_s(5.0) < silence_s(None)
    assert silence_s(None, replace(KIND, prefill_share=1.0)) < silence_s(None)
    at_once = silence_s(5.0, replace(KIND, prefill_s=0.0))
    assert NOTICED_S + ROUND_TRIP_S < at_once < NOTICED_S + ROUND_TRIP_S + 0.51


def test_without_a_reserve_some_of_a_lost_regions_sessions_find_no_place() -> None:
    told = lose_region(Day(replace(KIND, reserve=0), 90, DEMAND, Rules(target=0.95)), 5.0)
    assert told["found no place"] > 0


def test_a_worker_is_predicted_by_the_model_of_cost() -> None:
    found = predicted("H100", 2.5)
    assert found.slots > 50
    assert found.reserve > found.slots / 2
    assert 1e-5 < found.prefill_s < 1e-4  # of 7.4 G multiplications at 0.4 of the peak
