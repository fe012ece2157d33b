"""The step's benchmark: what it lets pass, and what it fails on."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support.language_models import GOLDEN
from tests.support.memory import needs_memory_peak
from tools.bench.step import WORKER, Figures

STEP = {
    "median_ms": 20.0, "p95_ms": 21.0, "p99_ms": 22.0, "read_mb": 355.0, "read_ms": 16.0, "predicted_ms": 18.0,
    "load_s": 3.2, "weights_mb": 535.0, "peak_mb": 596.0, "process_mb": 900.0,
}  # fmt: skip
CHURNED = STEP | {"median_ms": 20.5, "p99_ms": 23.5}
FIGURES = Figures("moshi", 1, 1, STEP, among_slots_ms=22.0, churned=CHURNED, reference_ms=100.0)


def test_it_prints_every_ratio() -> None:
    line = FIGURES.line()
    for words in ("p50 20.0 ms", "take 16.0 ms (1.25 times)", "predicted 18.0 ms (0.90)", "22.0 ms (1.10 times)",
                  "come and go p50 20.5 ms, p99 23.5", "reference 100.0 ms: 5.00 times ours",
                  "loaded in 3.2 s, at most 596 MB for 535 MB (1.11 times), 900 MB in all"):  # fmt: skip
        assert words in line
    assert not FIGURES.misses()


@pytest.mark.parametrize(("predicted_ms", "holds"), [(14.9, False), (15.1, True), (24.9, True), (25.1, False)])
def test_it_fails_where_the_model_of_cost_is_a_quarter_off_for_one_session(predicted_ms: float, holds: bool) -> None:
    figures = replace(FIGURES, ours=STEP | {"predicted_ms": predicted_ms})
    assert figures.misses() == [] if holds else "prediction is off by 2" in figures.misses()[0]
    assert not replace(figures, batch=8).misses()  # where arithmetic counts, which the model leaves out on a CPU


def test_floats_are_not_predicted() -> None:
    figures = replace(FIGURES, ours={key: value for key, value in STEP.items() if key != "predicted_ms"})
    assert "predicted" not in figures.line()
    assert not figures.misses()


@pytest.mark.parametrize(("among_slots_ms", "holds"), [(25.9, True), (26.1, False)])
def test_it_fails_where_one_session_pays_for_slots_that_nobody_uses(among_slots_ms: float, holds: bool) -> None:
    misses = replace(FIGURES, among_slots_ms=among_slots_ms).misses()
    assert misses == [] if holds else "among more slots" in misses[0]


@pytest.mark.parametrize(
    ("batch", "threads", "read_mb", "times"),
    [(1, 1, 355.0, 4.5), (1, 2, 355.0, 4.0), (8, 1, 355.0, 4.0), (1, 1, 7380.0, 4.0), (1, 2, 7380.0, 4.0)],
)
def test_it_fails_where_the_reference_is_too_near(batch: int, threads: int, read_mb: float, times: float) -> None:
    figures = replace(FIGURES, batch=batch, threads=threads, ours=STEP | {"read_mb": read_mb})
    assert not replace(figures, reference_ms=(times + 0.05) * STEP["median_ms"]).misses()
    (miss,) = replace(figures, reference_ms=(times - 0.05) * STEP["median_ms"]).misses()
    assert f"times as fast as the reference, not {times}" in miss


def worker(*arguments: str) -> dict[str, float]:
    command = [sys.executable, *WORKER, str(GOLDEN / "moshi-tiny"), "--steps", "4", *arguments]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


@needs_memory_peak
def test_a_worker_times_loading_and_steps_while_sessions_come_and_go() -> None:
    found = worker("--batch", "2", "--churn", "2")
    assert set(found) == set(STEP)
    assert min(found.values()) > 0


@needs_memory_peak
def test_a_worker_of_floats_predicts_nothing() -> None:
    assert set(STEP) - set(worker("--quantize", "none")) == {"predicted_ms"}
