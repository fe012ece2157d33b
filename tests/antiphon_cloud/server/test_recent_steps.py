"""However many ask how long steps take, it is worked out a few times a second."""

from __future__ import annotations

from antiphon_cloud.engine.forecast import StepTimes
from antiphon_cloud.server.recent_steps import RecentSteps


def test_the_percentiles_are_worked_out_four_times_a_second_at_the_most() -> None:
    now, asked = [0.0], [0]

    def measure() -> StepTimes:
        asked[0] += 1
        return StepTimes(float(asked[0]), 0.0, 0.0)

    steps = RecentSteps(measure, lambda: now[0])
    seen = []
    for millisecond in range(1000):
        now[0] = millisecond / 1000
        seen.append(steps.now().p50_ms)
    assert asked == [4]
    assert (seen[0], seen[249], seen[250], seen[999]) == (1, 1, 2, 4)
