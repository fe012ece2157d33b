"""A fleet's day: nobody is made or lost by the play, and what it says of policies follows from what it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tools.fleet.region
from tools.fleet.breaks import breaks
from tools.fleet.crowd import crowd
from tools.fleet.day import Day, Rules
from tools.fleet.demand import DAY_S, KINDS, Demand
from tools.fleet.loss import NOTICED_S, ROUND_TRIP_S, Loss, Resume, lose_region, queued
from tools.fleet.placement import POLICIES, fullest, least_request
from tools.fleet.plots import plot_day, plot_losses
from tools.fleet.region import Region, State
from tools.fleet.worker import WorkerKind, predicted

KIND = WorkerKind(
    "even", slots=20, reserve=20, prefill_s=1e-4, chunk_s=1e-3, prefill_share=0.25, ready_s=60.0, cost_per_hour=2.0
)
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
    assert made.total.max() <= KIND.slots
    assert (made.total == made.sessions.sum(0)).all()


def test_the_fullest_worker_is_filled_first_and_least_request_fills_evenly() -> None:
    random, held = np.random.default_rng(0), np.array([3, 9, 0, 5])
    assert list(np.bincount(fullest(random, held, 10 - held, 4), minlength=4)) == [0, 1, 0, 3]
    given = least_request(random, np.zeros(50, int), np.full(50, 100), 2500)
    assert len(given) == 2500
    assert np.bincount(given).max() < 100


def test_least_request_prefers_the_worker_with_fewer_calls() -> None:
    random, held = np.random.default_rng(0), np.repeat([0, 96], 50)
    given = np.bincount(least_request(random, held, np.full(100, 1000), 10_000), minlength=100)
    assert 7300 < given[:50].sum() < 7700  # of two at random, the busy one only where both are


def test_sessions_end_as_their_kinds_do() -> None:
    made = Region(np.random.default_rng(0), replace(KIND, slots=100_000), 3, POLICIES["random"])
    made.scale(3, -KIND.ready_s)
    made.pass_time(0.0, 0.0)
    made.admit(np.array([100_000, 100_000]))
    made.pass_time(60.0, 60.0)
    left = made.sessions.sum(1) / 100_000
    assert left == pytest.approx([np.exp(-60 / kind.mean_s) for kind in KINDS], rel=0.01)


def test_slots_that_are_kept_are_not_for_new_sessions() -> None:
    made = region()
    assert made.admit(np.array([1000, 0]), kept=5).sum() <= 4 * 15
    assert made.total.max() == 15
    made.admit(np.array([1000, 0]))
    assert made.total.max() == KIND.slots


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
    assert made.total[made.state == State.DRAINING].sum() == 0
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


def lost(resume: Resume, kind: WorkerKind = KIND, target: float = 0.85) -> Loss:
    return lose_region(Day(kind, 90, DEMAND, Rules(target=target)), resume)


def test_a_lost_regions_sessions_are_silent_for_as_long_as_their_histories_take() -> None:
    def silence_s(first_s: float | None, kind: WorkerKind = KIND) -> float:
        told = lost(Resume(20, first_s), kind)
        assert told.homeless == 0
        return float(told.silent_s.max())

    assert silence_s(5.0) < silence_s(None)
    assert silence_s(None, replace(KIND, prefill_share=1.0)) < silence_s(None)
    at_once = silence_s(5.0, replace(KIND, prefill_s=0.0, chunk_s=0.0))
    assert NOTICED_S + ROUND_TRIP_S < at_once < NOTICED_S + ROUND_TRIP_S + 0.51


def test_what_is_not_computed_first_is_computed_later() -> None:
    soon, whole = lost(Resume(20, 5.0)), lost(Resume(20))
    assert np.percentile(soon.silent_s, 99) < np.percentile(soon.whole_s, 99)
    assert (whole.whole_s >= whole.silent_s).all()
    assert (whole.whole_s - whole.silent_s).max() < 1e-9


def test_who_finds_no_place_waits_for_new_workers_and_is_not_lost() -> None:
    full, reserved = lost(Resume(0, 5.0), target=0.95), lost(Resume(20, 5.0), target=0.95)
    assert full.homeless > 0
    assert reserved.homeless == 0
    assert len(full.silent_s) == len(reserved.silent_s)
    assert full.silent_s.max() > KIND.ready_s


def test_each_worker_does_its_work_one_after_the_other_the_shortest_first() -> None:
    done = queued(np.array([0, 1, 0, 0]), np.array([3.0, 7.0, 1.0, 2.0]))
    assert list(done) == [6.0, 7.0, 1.0, 3.0]


def test_a_stream_that_breaks_is_silent_for_longer_where_it_comes_to_another_worker() -> None:
    own, other = breaks(KIND, 6.0, found=1.0), breaks(KIND, 6.0, found=0.0)
    assert own["silence p99 s"] == pytest.approx(NOTICED_S + ROUND_TRIP_S, abs=0.01)
    assert other["silence p50 s"] > own["silence p99 s"]
    assert breaks(KIND, 60.0, found=0.0)["silence p99 s"] > other["silence p99 s"]


def test_a_crowd_finds_places_sooner_where_workers_are_ready_sooner() -> None:
    demand = replace(DEMAND, crowd_at_s=NOON_S, crowd=2.0)
    soon, late = (crowd(KIND, 120, demand, Rules(target=0.8), ready_s) for ready_s in (10.0, 400.0))
    assert soon["refused %"] <= late["refused %"]
    assert soon["less than half of the spare slots for s"] < late["less than half of the spare slots for s"]


def test_the_plots_are_small(tmp_path: Path) -> None:
    plot_day([(hour / 60, hour, 2 * hour, 3) for hour in range(1440)], "a day", tmp_path / "day.webp")
    plot_losses({"one": lost(Resume(20)), "two": lost(Resume(0, 5.0))}, tmp_path / "loss.webp")
    assert all(0 < file.stat().st_size < 60_000 for file in tmp_path.iterdir())


def test_a_worker_is_predicted_by_the_model_of_cost() -> None:
    found = predicted("H100", 2.5)
    assert found.slots > 50
    assert 1e-3 < found.chunk_s < 1e-2  # 7 GB at 2.5 TB/s
    assert found.reserve > found.slots / 2
    assert 1e-5 < found.prefill_s < 1e-4  # of 7.4 G multiplications at 0.4 of the peak
