"""Draws a conversation: both waveforms over time, with the words above them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import matplotlib as mpl
import numpy as np

from antiphon.errors import AntiphonError
from antiphon_edge.audio.pcm import Pcm

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg

Words = Sequence[tuple[float, str]]
"""The start of each word in s, and the word."""

MAX_WIDTH_IN = 600.0  # at 100 dots per inch; matplotlib's limit is 65,536 dots


def picture_type(path: Path) -> str:
    """The file type of a picture's name, such as png.

    Raises:
        AntiphonError: it is not a type that can be drawn.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FigureCanvasAgg.get_supported_filetypes():
        raise AntiphonError(f"{path}: is no name of a picture; choose one that ends in .png, .svg or .pdf")
    return kind


def draw(file: BinaryIO, kind: str, sides: dict[str, tuple[Pcm, Words]], sample_rate_hz: int) -> None:
    """Writes a picture of type `kind` with a panel for each side: its name, samples [n] and words.

    A second is 0.75 inches wide, or less if the picture would be wider than `MAX_WIDTH_IN`.
    """
    length_s = max(len(samples) for samples, _ in sides.values()) / sample_rate_hz
    figure, axes = plt.subplots(
        len(sides), 1, sharex=True, sharey=True, squeeze=False,
        figsize=(min(max(6.0, 0.75 * length_s), MAX_WIDTH_IN), 1.8 * len(sides)), layout="constrained",
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
    figure.savefig(file, format=kind, dpi=100)
    plt.close(figure)
