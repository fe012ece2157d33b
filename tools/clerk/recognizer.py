"""An independent speech recognizer: pocketsphinx with a grammar of one digit."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pocketsphinx
import soxr

from antiphon_edge.audio.pcm import Pcm
from tools.clerk.train.data.clips import DIGITS

RATE = 16_000
GRAMMAR = f"#JSGF V1.0;\ngrammar digit;\npublic <digit> = {' | '.join(DIGITS)};\n"


class Recognizer(Protocol):
    """A recognizer of single digits."""

    def digit(self, samples: Pcm, sample_rate_hz: int) -> str:
        """The digit in samples [n], or an empty string."""


class DigitRecognizer:
    """Recognizes one digit with pocketsphinx."""

    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL", lm=None)
        self._decoder.add_jsgf_string("digit", GRAMMAR)
        self._decoder.activate_search("digit")

    def digit(self, samples: Pcm, sample_rate_hz: int) -> str:
        """The digit in samples [n], or an empty string."""
        at_16k = soxr.resample(samples, sample_rate_hz, RATE)
        room = np.zeros(RATE // 4, np.float32)
        padded = np.concatenate([room, at_16k, room])
        level = max(float(np.sqrt(np.mean(at_16k**2))), 1e-4) * 10 ** (-30 / 20)  # it fails on digital silence
        padded = padded + level * np.random.default_rng(0).standard_normal(len(padded))
        pcm = (np.clip(padded, -1, 1) * 32767).astype(np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        return best.hypstr if best else ""
