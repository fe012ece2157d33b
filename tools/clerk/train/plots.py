"""Plots for the model card: loss curves, and spectrograms of speech before and after the codec."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from antiphon_edge import Codec
from tools.clerk.train.data.clips import FRAME, RATE, Clip, load_clips, load_units
from tools.clerk.train.stage import run

mpl.use("Agg")
from matplotlib import pyplot as plt

CURVES = {
    "encoder": ("mel", "semantic", "commitment", "test_mel", "test_semantic"),
    "decoder": ("spectra", "waveform"),
    "lm": ("text", "audio", "listening", "test_text", "test_listening"),
}


def curves(logs: dict[str, list[Path]], path: Path) -> None:
    """Plots losses over steps, one panel per stage; the rounds of a stage follow each other."""
    figure, axes = plt.subplots(1, len(logs), figsize=(5 * len(logs), 3.5), layout="constrained")
    for axis, (stage, rounds) in zip(axes, logs.items(), strict=True):
        lines, before = list[dict[str, Any]](), 0
        for log in rounds:
            if lines:
                before = lines[-1]["step"]
                axis.axvline(before, color="lightgray", linewidth=1)
            lines += [
                entry | {"step": before + entry["step"]} for entry in map(json.loads, log.read_text().splitlines())
            ]
        for name in CURVES[stage]:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                steps, values = np.array(points).T
                axis.plot(steps, values, label=name, linewidth=1)
        axis.set_title(stage)
        axis.set_yscale("log")
        axis.set_xlabel("step")
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def through(codec: Codec, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encodes and decodes samples with the edge's codec, frame by frame."""
    encoder, decoder = codec.encoder(), codec.decoder()
    padded = np.pad(samples, (0, -len(samples) % FRAME)).astype(np.float32)
    return np.concatenate([decoder.step(encoder.step(frame)) for frame in padded.reshape(-1, FRAME)])


def spectrograms(codec: Codec, sounds: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Plots spectrograms of each sound before and after the codec."""
    rng = np.random.default_rng(0)  # noise, because the logarithm of digital silence is infinite
    figure, axes = plt.subplots(len(sounds), 2, figsize=(12, 2.6 * len(sounds)), layout="constrained", squeeze=False)
    for row, (name, samples) in zip(axes, sounds.items(), strict=True):
        for axis, what, sound in ((row[0], "original", samples), (row[1], "decoded", through(codec, samples))):
            hushed = sound + 1e-6 * rng.standard_normal(len(sound))
            axis.specgram(hushed, NFFT=512, noverlap=384, Fs=RATE, vmin=-140, vmax=-40, cmap="magma")
            axis.set_ylim(0, 8000)
            axis.set_title(f"{name}: {what}", fontsize=9)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    """Writes losses.png and spectrograms.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bank", type=Path)
    parser.add_argument("logs", type=Path, help="folder of the codec's logs")
    parser.add_argument("rounds", type=Path, nargs="+", help="folder of the language model's log, one per round")
    parser.add_argument("codec", type=Path, help="exported codec")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    logs = {stage: [arguments.logs / f"{stage}.jsonl"] for stage in ("encoder", "decoder")}
    curves(logs | {"lm": [folder / "lm.jsonl" for folder in arguments.rounds]}, arguments.out / "losses.png")
    units = load_units(arguments.bank / "answering.npz")
    quiet = np.zeros(4 * FRAME, np.float32)
    answer = [quiet, *(units[name].samples for name in ("you said", "three", "seven", "one"))]
    stranger: Clip = next(clip for clip in load_clips(arguments.bank / "held-out.npz") if len(clip.words) == 3)
    sounds = {
        "the answering voice": np.concatenate(answer),
        f"an unseen voice ({stranger.voice})": np.concatenate([quiet, stranger.samples]),
    }
    spectrograms(Codec.load(arguments.codec), sounds, arguments.out / "spectrograms.png")


if __name__ == "__main__":
    run(main, "plots")
