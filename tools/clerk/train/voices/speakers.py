"""Who speaks: the voices of Kokoro-82M, those that training never hears, and new speakers blended of the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from antiphon.errors import AntiphonError

HELD_OUT = (
    *("af_sarah", "af_nova", "af_river", "af_bella", "am_michael", "am_eric", "am_onyx", "am_fenrir"),
    *(
        "bf_emma",
        "bf_lily",
        "bm_george",
        "bm_daniel",
        "ef_dora",
        "im_nicola",
        "hf_beta",
        "pm_alex",
        "zm_yunxi",
        "ff_siwis",
    ),
)
"""Voices that training never hears. The first letter is the language they were made for, the second their sex."""

TRAINING = (
    *("af_alloy", "af_aoede", "af_heart", "af_jessica", "af_kore", "af_nicole", "af_sky", "am_adam", "am_echo"),
    *("am_liam", "am_puck", "am_santa", "bf_alice", "bf_isabella", "bm_fable", "bm_lewis", "em_alex", "em_santa"),
    *("hf_alpha", "hm_omega", "hm_psi", "if_sara", "jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro"),
    *("jm_kumo", "pf_dora", "pm_santa", "zf_xiaobei", "zf_xiaoni", "zf_xiaoxiao", "zf_xiaoyi", "zm_yunjian"),
    *("zm_yunxia", "zm_yunyang"),
)

ALONE = 0.3  # share of speakers that are one voice; the others are blends of two
SHIFTS = (0.92, 1.18)  # factors of pitch and formants
UNSHIFTED = 0.4  # share of speakers without such a factor
TEMPI = (0.72, 1.05)  # Kokoro's `speed`


@dataclass(frozen=True)
class Speaker:
    """A blend of voices, a lexicon, a factor of pitch and formants, and a tempo."""

    parts: tuple[tuple[str, float], ...]  # voices and their weights, which add up to 1
    british: bool = False
    shift: float = 1.0
    speed: float = 0.9

    @property
    def name(self) -> str:
        """A name that starts with "kokoro" and tells speakers apart."""
        voices = "+".join(voice if weight == 1 else f"{voice}*{weight:.2f}" for voice, weight in self.parts)
        return f"kokoro {voices} x{self.shift:.2f}"


def voices_of(name: str) -> list[str]:
    """The voices in the name of a speaker."""
    return re.findall("[a-z]{2}_[a-z]+", name)


def drawn(rng: np.random.Generator, voices: Sequence[str] = TRAINING) -> Speaker:
    """A new speaker for training.

    Raises:
        AntiphonError: one of `voices` is held out.
    """
    refuse_held_out(voices)
    if rng.random() < ALONE:
        parts: tuple[tuple[str, float], ...] = ((str(rng.choice(voices)), 1.0),)
    else:
        one, other = (str(voice) for voice in rng.choice(voices, 2, replace=False))
        weight = float(rng.uniform(0.25, 0.75))
        parts = ((one, weight), (other, 1 - weight))
    british = rng.random() < (0.8 if parts[0][0].startswith("b") else 0.15)
    shift = 1.0 if rng.random() < UNSHIFTED else float(rng.uniform(*SHIFTS))
    return Speaker(parts, bool(british), shift, float(rng.uniform(*TEMPI)))


def stranger(voice: str, rng: np.random.Generator) -> Speaker:
    """A held-out voice as it is, for the evaluation."""
    return Speaker(((voice, 1.0),), voice.startswith("b"), 1.0, float(rng.uniform(0.8, 1.0)))


def refuse_held_out(voices: Sequence[str]) -> None:
    """Sees to it that no held-out voice is trained on.

    Raises:
        AntiphonError: one of `voices` is held out.
    """
    if held_out := sorted(set(voices) & set(HELD_OUT)):
        raise AntiphonError(f"{', '.join(held_out)}: held out for the evaluation, never trained on; name other voices")
