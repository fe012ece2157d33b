"""The count of threads that is fastest is found, kept, and looked for again."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pytest

from antiphon_cloud.serving.thread_count import (
    LONGEST_REST_STEPS,
    RECENT,
    REST_STEPS,
    ROUNDS,
    TRIED_STEPS,
    ThreadWatch,
    WatchedRunner,
    choose_threads,
    counts_up_to,
    fastest,
    timed_step,
)
from tools.harness.stub_runner import StubRunner, expected


class Machine:
    """Whose steps take as long as a table says; the first after a change of threads takes ten times as long."""

    def __init__(self, takes_ms: Mapping[int, float]) -> None:
        self.takes_ms = dict(takes_ms)
        self.threads, self.steps, self._changed = 0, 0, True

    def use(self, count: int) -> None:
        self._changed = self._changed or count != self.threads
        self.threads = count

    def step_ms(self) -> float:
        took_ms = self.takes_ms[self.threads] * (10 if self._changed else 1)
        self._changed = False
        self.steps += 1
        return took_ms


@pytest.mark.parametrize(
    ("most", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))]
)
def test_counts_double_up_to_the_most(most: int, counts: tuple[int, ...]) -> None:
    assert counts_up_to(most) == counts


@pytest.mark.parametrize(
    ("takes_ms", "wanted"),
    [
        ({1: 40, 2: 22, 4: 12}, 4), ({1: 13, 2: 137, 4: 329}, 1), ({1: 40, 2: 22, 4: 90}, 2),
        ({1: 40, 2: 39, 4: 38}, 1), ({1: 40, 2: 60, 4: 20}, 4),
    ],
    ids=["idle", "busy", "half busy", "no gain worth a thread", "a valley behind a hill"],
)  # fmt: skip
def test_the_fastest_count_is_kept(takes_ms: dict[int, float], wanted: int) -> None:
    machine = Machine(takes_ms)
    chosen, times_ms = choose_threads((1, 2, 4), machine.use, machine.step_ms)
    assert (chosen, machine.threads) == (wanted, wanted)
    assert {count: set(times) for count, times in times_ms.items()} == {n: {ms} for n, ms in takes_ms.items()}


def test_one_slow_step_of_several_does_not_count() -> None:
    assert fastest({1: [40, 40, 40], 2: [20, 20, 900]}) == 2
    assert fastest({1: [40, 40, 40], 2: [20, 900, 900]}) == 1


def test_slow_steps_are_not_tried_for_long() -> None:
    quick, slow = Machine({1: 1, 2: 1}), Machine({1: 2000, 2: 2000})
    choose_threads((1, 2), quick.use, quick.step_ms)
    choose_threads((1, 2), slow.use, slow.step_ms)
    assert (quick.steps, slow.steps) == (ROUNDS * 4, 4)


def test_a_step_is_timed_after_a_pause_as_between_frames() -> None:
    machine, before = Machine({1: 1, 2: 1}), []
    choose_threads((1, 2), machine.use, machine.step_ms, lambda: before.append(machine.steps))
    assert before == [2 * trial + 1 for trial in range(ROUNDS * 2)]  # the first of two has started the threads


def test_a_count_that_is_given_is_not_tried() -> None:
    machine = Machine({3: 1})
    assert choose_threads((3,), machine.use, machine.step_ms) == (3, {3: []})
    assert (machine.steps, machine.threads) == (0, 3)


def test_a_step_is_timed_by_the_clock() -> None:
    for slots, batch in ((2, [0, 1]), (8, [0, 1, 2, 3])):
        now_s, runner = iter([1.0, 1.013]), StubRunner(slots)
        assert timed_step(runner, lambda now_s=now_s: next(now_s))() == pytest.approx(13)  # type: ignore[misc]
        assert runner.batches == [batch]


def test_a_watched_runner_is_the_runner_and_tells_how_long_its_steps_take() -> None:
    told: list[tuple[int, float]] = []
    machine = Machine({1: 1, 2: 1})
    watch = ThreadWatch((1, 2), machine.use, 1, {1: 1.0})
    watch.stepped = lambda batch, took_ms: told.append((batch, round(took_ms, 6)))  # type: ignore[method-assign]
    now_s, runner = iter([1.0, 1.013, 2.0, 2.5]), StubRunner()
    watched = WatchedRunner(runner, watch, lambda: next(now_s))
    assert (watched.slots, watched.spec) == (runner.slots, runner.spec)
    watched.reset(2, 7, runner.spec.sampling)
    codes = np.zeros((1, 8), np.int32)
    assert (watched.step([2], codes).codes == -2).all()
    assert (watched.step([2], codes).codes == expected(codes[0], 7, 1)).all()
    assert told == [(1, 13.0), (1, 500.0)]


def serve(watch: ThreadWatch, machine: Machine, steps: int, batch: int = 1) -> None:
    for _ in range(steps):
        watch.stepped(batch, machine.step_ms())


def watch_of(machine: Machine, usual_ms: Mapping[int, float] | None = None) -> ThreadWatch:
    machine.use(4)
    machine.step_ms()
    return ThreadWatch((1, 2, 4), machine.use, 4, {1: 12.0} if usual_ms is None else usual_ms)


LOOK = 3 * (TRIED_STEPS + 1)


def test_a_machine_that_grows_busy_is_looked_at_again(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine({1: 40, 2: 22, 4: 12})
    watch = watch_of(machine)
    serve(watch, machine, REST_STEPS + 2 * RECENT)
    assert (watch.chosen, machine.threads) == (4, 4)
    machine.takes_ms = {1: 45, 2: 137, 4: 329}
    with caplog.at_level(logging.INFO):
        serve(watch, machine, RECENT + LOOK)
    assert (watch.chosen, machine.threads) == (1, 1)
    assert "another number of threads, 1 instead of 4; --threads 1 keeps it" in caplog.text


def test_a_machine_that_is_slow_whatever_the_threads_is_looked_at_ever_more_rarely() -> None:
    machine = Machine({1: 400, 2: 220, 4: 120})
    watch = watch_of(machine)
    used: list[int] = []
    use = machine.use

    def note(count: int) -> None:
        used.append(count)
        use(count)

    watch._use = note
    serve(watch, machine, REST_STEPS - 1)
    assert not used  # not at once: the start has just been measured
    serve(watch, machine, 10 * LONGEST_REST_STEPS)
    assert used[:8] == [1, 2, 4, 4, 1, 2, 4, 4]
    assert 10 <= len(used) / 4 <= 10 + 6
    assert machine.threads == 4


@pytest.mark.parametrize("takes_ms", [{1: 9, 2: 9, 4: 9}, {1: 20, 2: 20, 4: 23}], ids=["quick", "hardly slower"])
def test_steps_that_nobody_hears_of_are_left_alone(takes_ms: dict[int, float]) -> None:
    machine = Machine(takes_ms)
    watch = watch_of(machine, {1: 1.0} if takes_ms[4] == 9 else {1: 12.0})
    serve(watch, machine, 3 * REST_STEPS)
    assert (watch.chosen, machine.threads) == (4, 4)


def test_a_larger_batch_is_not_a_slower_step() -> None:
    machine = Machine({1: 90, 2: 60, 4: 50})
    watch = watch_of(machine, {1: 12.0, 4: 40.0, 8: 60.0})
    for batch in (3, 4, 8, 100):
        serve(watch, machine, REST_STEPS, batch)
    assert machine.threads == 4


def test_a_count_that_was_given_is_kept() -> None:
    machine = Machine({3: 500})
    machine.use(3)
    serve(ThreadWatch((3,), machine.use, 3, {1: 1.0}), machine, 2 * REST_STEPS)
    assert machine.threads == 3
