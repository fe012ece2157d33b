"""What the products of a codec multiply when it hears a voice: samples to round their matrices by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from antiphon.codec_manifest import GraphState
from antiphon_cloud.codec.int8.quantize import products
from antiphon_cloud.codec.run_graph import open_session

Floats = npt.NDArray[np.float32]

FRAMES = 150
"""Length of the voice; 12 s."""

_SYLLABLE_S = 0.12
_FORMANTS_HZ = ((250, 900, 90, 1.0), (800, 2500, 130, 0.6), (2200, 3800, 200, 0.3))  # lowest, highest, width, level
_PITCH_HZ = (80, 260)
_ROWS = 48  # of a product in a frame, that are kept


def make_voice(samples: int, rate_hz: int) -> Floats:
    """A babbling voice [samples]: harmonics of a gliding pitch through three formants, with hiss and pauses.

    It is computed, so that the package needs no recording; its sounds change as fast as those of speech.
    """
    random = np.random.default_rng(0)
    time_s = np.arange(samples) / rate_hz
    syllables = np.arange(0, samples / rate_hz + _SYLLABLE_S, _SYLLABLE_S)

    def glide(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.interp(time_s, syllables, values)

    def level(values: Sequence[float], shares: Sequence[float]) -> npt.NDArray[np.float64]:
        return glide(random.choice(values, len(syllables), p=shares))

    pitch_hz = glide(random.uniform(*_PITCH_HZ, len(syllables)))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    formants = [
        (glide(random.uniform(low, high, len(syllables))), width, gain) for low, high, width, gain in _FORMANTS_HZ
    ]
    voiced = np.zeros(samples)
    for harmonic in range(1, 40):
        hz = harmonic * pitch_hz
        loudness = sum(gain * np.exp(-0.5 * ((hz - center) / width) ** 2) for center, width, gain in formants)
        voiced += (loudness + 0.02 / harmonic) * np.sin(harmonic * phase) * (hz < 0.45 * rate_hz)
    noise = random.standard_normal(samples)
    hiss = np.diff(noise, prepend=0.0)
    voice = 0.1 * voiced * level((0, 0.15, 0.5, 1), (0.15, 0.2, 0.35, 0.3)) + 0.08 * hiss * level(
        (0, 0.02, 0.3), (0.5, 0.3, 0.2)
    )
    return np.asarray(0.6 * voice / np.abs(voice).max(), np.float32)


def sample_inputs(
    model: onnx.ModelProto, source: str, states: Sequence[GraphState], frames: npt.NDArray[Any]
) -> dict[str, Floats]:
    """Samples of what each matrix that `quantize` rounds multiplies, [samples, K] by its name.

    Args:
        model: a half in float32.
        source: the name of the input that takes a frame.
        states: its states.
        frames: what it gets, one frame a row.
    """
    multiplied = products(model)
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = sorted(set(multiplied.values()))
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(probe.SerializeToString())
    outputs = [*(state.output for state in states), *names]
    state: dict[str, npt.NDArray[Any]] = {entry.input: np.zeros(entry.shape, entry.dtype) for entry in states}
    samples: dict[str, list[Floats]] = {name: [] for name in names}
    for frame in frames:
        found = session.run(outputs, {source: frame} | state)
        state = dict(zip(state, found[: len(states)], strict=True))
        for name, value in zip(names, found[len(states) :], strict=True):
            rows = value.reshape(-1, value.shape[-1])
            samples[name].append(rows[:: -(-len(rows) // _ROWS)])
    return {weight: np.concatenate(samples[name]) for weight, name in multiplied.items()}
