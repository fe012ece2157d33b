"""What a worker learns of its steps before it opens its doors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from antiphon_cloud.engine.forecast import StepForecast
from antiphon_cloud.errors import RefusedError
from antiphon_cloud.serving.calibration import profile_steps
from antiphon_cloud.sessions.admission import Admission
from antiphon_cloud.sessions.clients import Client
from tools.harness.stub_runner import StubResult, StubRunner

ANYONE = Client("anyone")

Int32 = npt.NDArray[np.int32]


class TimedRunner(StubRunner):
    """A stub whose step moves a clock instead of taking time."""

    now_s = 0.0
    first_ms, each_ms = 10.0, 1.0

    def step(self, slots: Sequence[int], user_codes: Int32, forced: Int32 | None = None) -> StubResult:
        warming_up = len(self.batches) % 9 < 2
        self.now_s += (self.first_ms + self.each_ms * len(slots) + 1000 * warming_up) / 1e3
        return super().step(slots, user_codes, forced)


def profile(runner: TimedRunner) -> dict[int, float]:
    return {batch: round(step_ms, 6) for batch, step_ms in profile_steps(runner, clock_s=lambda: runner.now_s).items()}


@pytest.mark.parametrize(
    ("slots", "batches"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (33, [1, 2, 4, 8, 16, 32, 33])]
)
def test_powers_of_two_and_all_slots_are_measured(slots: int, batches: list[int]) -> None:
    assert profile(TimedRunner(slots=slots)) == {batch: 10.0 + batch for batch in batches}


def test_where_steps_are_padded_one_session_beyond_a_batch_is_measured_too() -> None:
    """Or five sessions, which cost as much as eight, would be forecast to cost little more than four."""

    class Padded(TimedRunner):
        def step(self, slots: Sequence[int], user_codes: Int32, forced: Int32 | None = None) -> StubResult:
            batch = next(size for size in (1, 2, 4, 8, 12) if size >= len(slots))
            self.now_s += self.each_ms * (batch - len(slots)) / 1e3
            return super().step(slots, user_codes, forced)

    runner = Padded(slots=12)
    measured = profile_steps(runner, clock_s=lambda: runner.now_s, padded=(1, 2, 4, 8, 12))
    assert sorted(measured) == [1, 2, 3, 4, 5, 8, 9, 12]
    forecast = StepForecast(measured)
    for sessions, batch in ((3, 4), (5, 8), (6, 8), (7, 8), (9, 12), (11, 12)):
        assert forecast.step_ms(sessions, 0.0) == pytest.approx(10 + batch)


def test_it_ends_at_the_first_batch_that_takes_too_long(caplog: pytest.LogCaptureFixture) -> None:
    runner = TimedRunner(slots=64)
    runner.each_ms = 10.0
    measured = profile(runner)
    assert measured == {1: 20.0, 2: 30.0, 4: 50.0, 8: 90.0}
    assert "over 4 sessions takes 50 ms, over 8 it takes 90: not all 64 slots can be used" in caplog.text
    admission = Admission(StepForecast(measured))
    admission.check(ANYONE, 0, 4, 64, 0)
    with pytest.raises(RefusedError):
        admission.check(ANYONE, 0, 5, 64, 0)


def test_a_model_too_slow_for_real_time_is_told_and_serves_one(caplog: pytest.LogCaptureFixture) -> None:
    runner = TimedRunner(slots=4)
    runner.first_ms = 4000.0
    measured = profile(runner)
    assert measured == {1: 4001.0}
    assert len(runner.batches) == 3  # nobody waits for more
    assert "takes 4001 ms for one session alone" in caplog.text
    assert "one session at a time, slower than real time" in caplog.text
    admission = Admission(StepForecast(measured))
    admission.check(ANYONE, 0, 0, 4, 0)
    with pytest.raises(RefusedError, match="over 2 sessions would take 4001 ms"):
        admission.check(ANYONE, 0, 1, 4, 0)


def test_nothing_of_it_remains_for_the_first_session() -> None:
    runner = StubRunner(slots=2)
    profile_steps(runner)
    runner.reset(0, 5, runner.spec.sampling)
    assert (runner.step([0], np.zeros((1, 8), np.int32)).codes == -2).all()  # held back: its first step
