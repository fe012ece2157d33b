"""Chunks of a rebuild: as long as the others' steps leave room for, and no longer."""

import pytest

from antiphon_cloud.chunks import FIRST_STEPS, LONGEST_MS, MOST_STEPS, SHORTEST_MS, ChunkSize


def test_chunks_grow_and_shrink_towards_their_time() -> None:
    chunk = ChunkSize()
    for _ in range(20):
        chunk.measured(chunk.steps, 0.5 * chunk.steps)  # half a millisecond a step
    assert chunk.steps == LONGEST_MS / 0.5
    for _ in range(20):
        chunk.measured(chunk.steps, 10.0 * chunk.steps)
    assert chunk.steps == LONGEST_MS // 10.0


def test_one_lucky_chunk_no_more_than_doubles_the_next() -> None:
    chunk = ChunkSize()
    chunk.measured(FIRST_STEPS, 0.0)
    assert chunk.steps == 2 * FIRST_STEPS
    for _ in range(20):
        chunk.measured(chunk.steps, 0.0)
    assert chunk.steps == MOST_STEPS


def test_a_chunk_takes_half_of_what_the_steps_leave() -> None:
    chunk = ChunkSize()
    assert chunk.target_ms == LONGEST_MS
    for step_ms, target_ms in ((10.0, 35.0), (30.0, 25.0), (200.0, SHORTEST_MS)):
        chunk.stepped(step_ms)
        assert chunk.target_ms == target_ms


def test_a_chunk_is_never_nothing() -> None:
    chunk = ChunkSize()
    for _ in range(5):
        chunk.measured(chunk.steps, 1e6)
    assert chunk.steps == 1


@pytest.mark.parametrize(("step_ms", "steps"), [(0.5, 16), (5.0, 7), (25.0, 1), (300.0, 1)])
def test_before_a_chunk_is_measured_it_is_taken_to_cost_what_as_many_steps_do(step_ms: float, steps: int) -> None:
    size = ChunkSize()
    size.stepped(step_ms)
    assert size.steps == steps
    size.measured(steps, took_ms=1e-3)
    grown = size.steps
    size.stepped(step_ms)
    assert size.steps == grown == 2 * steps
