"""What the stepper's process measures before it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.serving import load_stepper as loading
from antiphon_cloud.serving.config import ServingConfig
from antiphon_cloud.serving.load_stepper import load_stepper, measure
from antiphon_cloud.serving.thread_count import WatchedRunner
from tests.support.fake_cuda import static_runner
from tests.support.language_models import GOLDEN, MICRO, micro_runner

MODEL = Path("model")


def test_slots_that_were_measured_have_no_memory_until_a_session_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = micro_runner(3)
    shared = static_runner(model.ops, 3, model.spec, graphs=False)
    monkeypatch.setattr(ModelRunner, "load", lambda *_, **__: shared)
    _, facts = load_stepper({"model": str(GOLDEN / "moshi-tiny"), "codec": "codec", "slots": 3})
    assert facts["model"].pool == shared.pool == PoolShape.of(3, MICRO.context, 256, None)
    assert shared.state.ring.table.tolist() == [[0]] * 4


@pytest.fixture(autouse=True)
def used(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The counts of threads that were in use; four processors may be."""
    counts: list[int | None] = []
    monkeypatch.setattr(loading, "usable_cpus", lambda: 4)
    return counts


def test_a_count_is_chosen_and_watched_where_none_is_asked_for(used: list[int | None]) -> None:
    model = micro_runner(2)
    model.use_threads = used.append
    runner, profile = measure(model, ServingConfig(MODEL))
    assert used[:6] == [1, 2, 4, 1, 2, 4]
    assert isinstance(runner, WatchedRunner)
    assert list(profile) == [1, 2]
    assert runner._watch.chosen == used[-1]


@pytest.mark.parametrize("config", [ServingConfig(MODEL, threads=2), ServingConfig(MODEL, device="cuda")])
def test_a_count_that_is_asked_for_stays_and_a_gpu_needs_none(config: ServingConfig, used: list[int | None]) -> None:
    model = micro_runner(2)
    model.use_threads = used.append
    runner, profile = measure(model, config)
    assert not isinstance(runner, WatchedRunner)
    assert (used, list(profile)) == ([], [1, 2])
