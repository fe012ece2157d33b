"""The step's benchmark: what it lets pass, and what it fails on."""

from dataclasses import replace

import pytest

from bench_step import Figures

STEP = {"median_ms": 20.0, "p95_ms": 21.0, "p99_ms": 22.0, "read_mb": 355.0, "read_ms": 16.0, "predicted_ms": 18.0}
FIGURES = Figures("moshi", 1, 1, STEP, among_slots_ms=22.0, reference_ms=100.0)


def test_it_prints_every_ratio() -> None:
    line = FIGURES.line()
    for words in ("p50 20.0 ms", "take 16.0 ms (1.25 times)", "predicted 18.0 ms (0.90)", "22.0 ms (1.10 times)",
                  "reference 100.0 ms: 5.00 times ours"):  # fmt: skip
        assert words in line
    assert not FIGURES.misses()


@pytest.mark.parametrize(("predicted_ms", "holds"), [(14.9, False), (15.1, True), (24.9, True), (25.1, False)])
def test_it_fails_where_the_model_of_cost_is_a_quarter_off_for_one_session(predicted_ms: float, holds: bool) -> None:
    figures = replace(FIGURES, ours=STEP | {"predicted_ms": predicted_ms})
    assert figures.misses() == [] if holds else "prediction is off by 2" in figures.misses()[0]
    assert not replace(figures, batch=8).misses()  # where arithmetic counts, which the model leaves out on a CPU


@pytest.mark.parametrize(("among_slots_ms", "holds"), [(25.9, True), (26.1, False)])
def test_it_fails_where_one_session_pays_for_slots_that_nobody_uses(among_slots_ms: float, holds: bool) -> None:
    misses = replace(FIGURES, among_slots_ms=among_slots_ms).misses()
    assert misses == [] if holds else "among more slots" in misses[0]
