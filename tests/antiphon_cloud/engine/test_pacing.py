"""Chunks of a prefill: long while nobody else steps, and beside others so short that no frame of theirs is late."""

import pytest

from antiphon_cloud.engine.pacing import (
    ALONE_MS,
    ALONE_S,
    FIRST_STEPS,
    LONGEST_MS,
    MOST_STEPS,
    SHORTEST_MS,
    PrefillPacer,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_chunks_grow_and_shrink_towards_their_time() -> None:
    pacer = PrefillPacer(Clock())
    for _ in range(20):
        pacer.measured(pacer.steps, 0.5 * pacer.steps)  # half a millisecond a step
    assert pacer.steps == ALONE_MS / 0.5
    for _ in range(20):
        pacer.measured(pacer.steps, 2.0 * pacer.steps)
    assert pacer.steps == ALONE_MS / 2.0


def test_one_lucky_chunk_no_more_than_doubles_the_next() -> None:
    pacer = PrefillPacer(Clock())
    pacer.measured(FIRST_STEPS, 0.0)
    assert pacer.steps == 2 * FIRST_STEPS
    for _ in range(20):
        pacer.measured(pacer.steps, 0.0)
    assert pacer.steps == MOST_STEPS


@pytest.mark.parametrize(("step_ms", "target_ms"), [(10.0, LONGEST_MS), (62.0, 9.0), (75.0, SHORTEST_MS), (200.0, 5.0)])
def test_beside_others_a_chunk_takes_half_of_what_their_steps_leave_and_never_long(
    step_ms: float, target_ms: float
) -> None:
    clock = Clock()
    pacer = PrefillPacer(clock)
    assert pacer.alone
    pacer.stepped(step_ms)
    assert not pacer.alone
    assert pacer.target_ms == target_ms
    clock.now_s += ALONE_S
    assert pacer.target_ms == ALONE_MS


def test_a_step_beside_shortens_the_very_next_chunk() -> None:
    pacer = PrefillPacer(Clock())
    for _ in range(20):
        pacer.measured(pacer.steps, 1.0 * pacer.steps)
    assert pacer.steps == ALONE_MS
    pacer.stepped(20.0)
    assert pacer.steps == LONGEST_MS


def test_alone_on_a_busy_machine_a_chunk_is_still_worth_reading_all_weights_for() -> None:
    pacer = PrefillPacer(Clock())
    for _ in range(5):
        pacer.measured(pacer.steps, 1e6)
    assert pacer.steps == FIRST_STEPS


def test_a_chunk_beside_others_is_never_nothing() -> None:
    pacer = PrefillPacer(Clock())
    pacer.stepped(20.0)
    for _ in range(5):
        pacer.measured(pacer.steps, 1e6)
    assert pacer.steps == 1


@pytest.mark.parametrize(("step_ms", "steps"), [(0.5, 16), (3.0, 4), (25.0, 1), (300.0, 1)])
def test_before_a_chunk_is_measured_it_is_taken_to_cost_what_as_many_steps_do(step_ms: float, steps: int) -> None:
    pacer = PrefillPacer(Clock())
    pacer.stepped(step_ms)
    assert pacer.steps == steps
    pacer.measured(steps, took_ms=1e-3)
    assert pacer.steps == 2 * steps
