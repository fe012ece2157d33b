"""What a step will take, by what steps were measured to take and by what the last ones did."""

from __future__ import annotations

from antiphon_cloud.engine.forecast import KEPT_CHUNKS, KEPT_S, StepForecast
from antiphon_cloud.engine.pacing import SHORTEST_MS

PROFILE = {1: 10.0, 2: 12.0, 4: 16.0, 8: 24.0, 16: 40.0, 32: 72.0}


def test_before_the_first_step_the_profile_is_the_forecast() -> None:
    forecast = StepForecast(PROFILE)
    assert forecast.step_ms(16, 0) == 40
    assert forecast.step_ms(24, 0) == 56  # between its points


def test_steps_that_take_twice_as_long_at_small_batches_are_taken_to_do_so_at_large_ones_until_they_are_old() -> None:
    forecast = StepForecast(PROFILE)
    for batch, step_ms in [(1, 20.0), (2, 24.0)] * 20:
        forecast.observe(batch, step_ms, 0)
    assert forecast.step_ms(16, KEPT_S) == 80
    assert forecast.step_ms(16, 1.001 * KEPT_S) == 40


def test_three_slow_steps_are_a_tail_and_two_are_none() -> None:
    forecast = StepForecast(PROFILE)
    for step_ms in (10.0,) * 50 + (110.0,) * 2:
        forecast.observe(1, step_ms, 0)
    assert forecast.step_ms(1, 0) == 10
    forecast.observe(1, 110.0, 0)
    assert forecast.step_ms(1, 0) == 110


def test_a_chunk_is_taken_to_last_as_long_as_the_longest_of_the_last_ones() -> None:
    forecast = StepForecast()
    assert forecast.chunk_ms() == SHORTEST_MS
    for took_ms in (12.0, 3.0, 9.0):
        forecast.observe_chunk(took_ms)
    assert forecast.chunk_ms() == 12
    for _ in range(KEPT_CHUNKS):
        forecast.observe_chunk(4.0)
    assert forecast.chunk_ms() == 4


def test_a_worker_knows_that_it_is_slower_than_real_time_before_the_first_step_and_after() -> None:
    forecast = StepForecast({1: 500.0})
    assert forecast.step_times().lone_ms == 500.0
    assert forecast.step_times().slower_than_real_time
    forecast.observe(1, 20.0, now_s=0.0)  # whatever slowed the measurement is gone
    assert not forecast.step_times().slower_than_real_time
    assert not StepForecast().step_times().slower_than_real_time  # nothing is known
