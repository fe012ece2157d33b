"""The plots: a day, and the silence after a region is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

if TYPE_CHECKING:
    from tools.fleet.loss import Loss

matplotlib.use("Agg")

SIZE = (8.0, 3.2)  # inches
COLORS = ("#b3261e", "#c77700", "#1f4e79", "#2e7d32", "#6a1b9a", "#555555")


def plot_day(track: Sequence[tuple[float, int, int, int]], title: str, path: Path) -> None:
    """Draws sessions and places through a day: hour, sessions, places, workers."""
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=SIZE)
    hours, sessions, places, _ = zip(*track, strict=True)
    panel.fill_between(hours, np.divide(places, 1000), color="#d7e3f4", label="slots of workers that are up")
    panel.plot(hours, np.divide(sessions, 1000), color="#1f4e79", label="sessions")
    panel.set(title=title, xlabel="hour of the day, UTC", ylabel="thousands", xlim=(0, 24), ylim=(0, None))
    panel.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def plot_losses(losses: Mapping[str, Loss], path: Path) -> None:
    """Draws the share of sessions that are still silent against the time since their region was lost."""
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=SIZE)
    for color, (name, loss) in zip(COLORS, losses.items(), strict=False):
        silent_s = np.sort(loss.silent_s)
        panel.step(silent_s, 100 * (1 - np.arange(1, len(silent_s) + 1) / len(silent_s)), color=color, label=name)
    panel.axvline(2.0, color="#999999", linewidth=0.8, linestyle=":")
    panel.set(xscale="log", xlabel="seconds since the region was lost", ylabel="% still silent", ylim=(0, 100))
    panel.legend(fontsize=7, loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
