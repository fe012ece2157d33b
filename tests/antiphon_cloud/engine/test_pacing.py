"""Chunks of a rebuild: long while nobody else steps, and beside others so short that no frame of theirs is late."""

import pytest

from antiphon_cloud.engine.pacing import ALONE_MS, ALONE_S, FIRST_STEPS, LONGEST_MS, MOST_STEPS, SHORTEST_MS, ChunkSize


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_chunks_grow_and_shrink_towards_their_time() -> None:
    chunk = ChunkSize(Clock())
    for _ in range(20):
        chunk.measured(chunk.steps, 0.5 * chunk.steps)  # half a millisecond a step
    assert chunk.steps == ALONE_MS / 0.5
    for _ in range(20):
        chunk.measured(chunk.steps, 10.0 * chunk.steps)
    assert chunk.steps == ALONE_MS // 10.0


def test_one_lucky_chunk_no_more_than_doubles_the_next() -> None:
    chunk = ChunkSize(Clock())
    chunk.measured(FIRST_STEPS, 0.0)
    assert chunk.steps == 2 * FIRST_STEPS
    for _ in range(20):
        chunk.measured(chunk.steps, 0.0)
    assert chunk.steps == MOST_STEPS


@pytest.mark.parametrize(("step_ms", "target_ms"), [(10.0, LONGEST_MS), (62.0, 9.0), (75.0, SHORTEST_MS), (200.0, 5.0)])
def test_beside_others_a_chunk_takes_half_of_what_their_steps_leave_and_never_long(
    step_ms: float, target_ms: float
) -> None:
    clock = Clock()
    chunk = ChunkSize(clock)
    assert chunk.alone
    chunk.stepped(step_ms)
    assert not chunk.alone
    assert chunk.target_ms == target_ms
    clock.now_s += ALONE_S
    assert chunk.target_ms == ALONE_MS


def test_a_step_beside_shortens_the_very_next_chunk() -> None:
    chunk = ChunkSize(Clock())
    for _ in range(20):
        chunk.measured(chunk.steps, 1.0 * chunk.steps)
    assert chunk.steps == ALONE_MS
    chunk.stepped(20.0)
    assert chunk.steps == LONGEST_MS


def test_a_chunk_is_never_nothing() -> None:
    chunk = ChunkSize(Clock())
    for _ in range(5):
        chunk.measured(chunk.steps, 1e6)
    assert chunk.steps == 1


@pytest.mark.parametrize(("step_ms", "steps"), [(0.5, 16), (3.0, 4), (25.0, 1), (300.0, 1)])
def test_before_a_chunk_is_measured_it_is_taken_to_cost_what_as_many_steps_do(step_ms: float, steps: int) -> None:
    size = ChunkSize(Clock())
    size.stepped(step_ms)
    assert size.steps == steps
    size.measured(steps, took_ms=1e-3)
    assert size.steps == 2 * steps
