"""How long frames are to wait, learnt from how late they come."""

from __future__ import annotations

import pytest

from antiphon_edge.audio.jitter.arrivals import (
    FASTEST_FRAMES,
    KEPT_FRAMES,
    MARGIN_MS,
    SLOWEST_FRAMES,
    STALL_MS,
    Arrivals,
)


def learnt(*ahead_ms: float, first_ms: float = 40.0) -> Arrivals:
    arrivals = Arrivals(1.0, first_ms)
    for ahead in ahead_ms:
        arrivals.came(ahead)
    return arrivals


def test_the_first_target_stands_until_two_seconds_are_known() -> None:
    assert learnt().target == 40
    assert learnt(*[0.0] * (FASTEST_FRAMES - 1)).target == 40
    assert learnt(*[0.0] * FASTEST_FRAMES).target == MARGIN_MS


def test_one_frame_in_20_s_may_be_late() -> None:
    assert learnt(0.0, -70.0).target == 40
    assert learnt(0.0, -70.0, -70.0).target == 70 + MARGIN_MS
    assert learnt(*[0.0] * 200, -90.0, *[0.0] * 10).target == MARGIN_MS


def test_a_frame_that_was_late_leaves_nothing_to_spare_until_others_came_in_time() -> None:
    late = learnt(*[100.0] * 50, 20.0, *[100.0] * (SLOWEST_FRAMES - 1))
    assert late.spare == 20 - MARGIN_MS
    late.came(100.0)
    assert late.spare == 100 - MARGIN_MS


def test_jitter_is_forgotten() -> None:
    assert learnt(*[0.0, -50.0] * 50, *[0.0] * KEPT_FRAMES).target == MARGIN_MS


def test_a_stall_is_no_jitter() -> None:
    arrivals = learnt(*[0.0] * 100, -STALL_MS - 1)
    assert arrivals.target == MARGIN_MS
    assert arrivals.fastest == -STALL_MS - 1


def test_clocks_that_drift_apart_are_no_jitter() -> None:
    arrivals = learnt(*[0.04 * frame for frame in range(1000)])  # 500 ppm
    assert arrivals.target == MARGIN_MS
    assert arrivals.fastest == pytest.approx(0.04 * 999)
    assert learnt(*[-0.04 * frame for frame in range(1000)]).target == pytest.approx(MARGIN_MS + 0.96)
