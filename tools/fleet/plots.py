"""The plots of a day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

if TYPE_CHECKING:
    from tools.fleet.day import Day

matplotlib.use("Agg")


def plot(days: list[Day], path: Path) -> None:
    """Draws sessions and places through each day, a panel for each."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(days), 1, figsize=(9, 2.4 * len(days)), sharex=True, squeeze=False)
    for panel, day in zip(panels[:, 0], days, strict=True):
        hours, sessions, places, _ = zip(*day.track, strict=True)
        panel.fill_between(hours, places, color="#d7e3f4", label="places of workers that are up")
        panel.plot(hours, sessions, color="#1f4e79", label="sessions")
        rules = day.rules
        panel.set_title(
            f"{rules.placement}, target {rules.target:.0%}{'' if rules.hand_over else ', without hand-over'}",
            fontsize=9,
        )
        panel.legend(fontsize=7, loc="lower right")
    panels[-1, 0].set_xlabel("hour of the day, UTC")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
