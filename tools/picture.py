"""A conversation as a picture: both waveforms over time, the words above them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from antiphon_edge.pcm import Pcm

mpl.use("Agg")
from matplotlib import pyplot as plt

Words = Sequence[tuple[float, str]]
"""When each starts, in s, and the word."""


def draw(path: Path, sides: dict[str, tuple[Pcm, Words]], sample_rate_hz: int) -> None:
    """Writes a PNG with a panel for each side: its name, samples [n] and words."""
    length_s = max(len(samples) for samples, _ in sides.values()) / sample_rate_hz
    figure, axes = plt.subplots(
        len(sides), 1, sharex=True, sharey=True, squeeze=False,
        figsize=(max(6.0, 0.75 * length_s), 1.8 * len(sides)), layout="constrained",
    )  # fmt: skip
    for axis, color, (name, (samples, words)) in zip(
        axes[:, 0], ("tab:blue", "tab:orange"), sides.items(), strict=True
    ):
        axis.plot(np.arange(len(samples)) / sample_rate_hz, samples, linewidth=0.4, color=color)
        axis.set_ylabel(name)
        axis.set_ylim(-1, 1.3)
        axis.set_yticks([])
        for at_s, word in words:
            axis.axvline(at_s, color="0.8", linewidth=0.6, zorder=0)
            axis.text(at_s, 0.95, f" {word}", fontsize=8, rotation=25)
    axes[-1, 0].set_xlabel("s")
    axes[-1, 0].set_xlim(0, length_s)
    figure.savefig(path, dpi=100)
    plt.close(figure)
