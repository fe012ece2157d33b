"""Measures what a telephone takes from a conversation with the number clerk, apart from any gateway.

    python -m tools.bench.telephone

Twenty people, whom training never heard, say their digits to the packaged model as an edge brings them, through the
band and the law of a telephone; and what the model says at 24 kHz is heard by the recognizer through the same. Prints
for each how many the model understood, and how many of the answers' digits the recognizer did.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import soundfile
import soxr

from antiphon_edge import Codec
from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.wire.g711 import MU_LAW
from antiphon_gateway.wire.g711 import RATE_HZ as NARROW_HZ
from antiphon_number_clerk import NUMBER_CLERK
from tools.clerk.recognizer import DigitRecognizer
from tools.clerk.scenes import Turn, turn_of
from tools.clerk.scores import LONGEST_DIGIT_S, expected
from tools.clerk.train.data.clips import DIGITS, RATE, Word
from tools.clerk.train.data.examples import PERIOD_S, TEST
from tools.demo.conversation import Heard, converse_all
from tools.harness.worker_process import worker

AT_ONCE = 2
WIDER_HZ = 16_000


def band(samples: Pcm, rate_hz: int, law: Callable[[Pcm], Pcm] = lambda pcm: pcm) -> Pcm:
    """Samples [N] through a telephone of that rate."""
    narrow = law(soxr.resample(samples, RATE, rate_hz).astype(np.float32))
    return soxr.resample(narrow, rate_hz, RATE).astype(np.float32)  # type: ignore[no-any-return]


def mu_law(pcm: Pcm) -> Pcm:
    """Samples [N] as µ-law leaves them."""
    return MU_LAW.decode(MU_LAW.encode(pcm))


TELEPHONES: dict[str, Callable[[Pcm], Pcm]] = {
    "24 kHz": lambda samples: samples,
    "16 kHz": lambda samples: band(samples, WIDER_HZ),
    "8 kHz": lambda samples: band(samples, NARROW_HZ),
    "8 kHz, µ-law": lambda samples: band(samples, NARROW_HZ, mu_law),
}


def people() -> list[tuple[Turn, Pcm]]:
    """Each with the samples [N] of a conversation's length."""
    samples, _ = soundfile.read(TEST.with_suffix(".flac"), dtype="float32")
    length = int(PERIOD_S * RATE) // 1920 * 1920
    said = json.loads(TEST.with_suffix(".json").read_text())
    turns = [turn_of([Word(text, start_s, end_s) for start_s, end_s, text in words], 0.0) for words in said]
    return [(turn, samples[i * length : (i + 1) * length]) for i, turn in enumerate(turns)]


def misheard(heard: Heard, turn: Turn, ear: DigitRecognizer) -> list[str]:
    """The answer's digits that the recognizer takes for others."""
    spoken = [(at_s, word) for at_s, word in heard.words if word in DIGITS][-len(turn.digits) :]
    ends = [*(at_s for at_s, _ in spoken), 1e6][1:]
    pieces = [
        heard.between(at_s, min(end_s, at_s + LONGEST_DIGIT_S)) for (at_s, _), end_s in zip(spoken, ends, strict=True)
    ]
    return [word for (_, word), piece in zip(spoken, pieces, strict=True) if ear.digit(piece, RATE) != word]


def main() -> None:
    """Prints the table."""
    codec, ear, persons = Codec.load(NUMBER_CLERK / "codec"), DigitRecognizer(), people()
    digits = sum(len(turn.digits) for turn, _ in persons)
    wide: list[Heard] = []
    with worker("--slots", str(8 * AT_ONCE), "--step-budget", "10000") as started:
        for name, telephone in TELEPHONES.items():
            scenes = [telephone(samples) for _, samples in persons]
            answers = asyncio.run(converse_all(started.address, codec, scenes, AT_ONCE))
            wide = wide or answers
            right = sum(
                answer.text_between(0, 1e6).endswith(expected(turn))
                for answer, (turn, _) in zip(answers, persons, strict=True)
            )
            lost = Counter(
                word
                for answer, (turn, _) in zip(wide, persons, strict=True)
                for word in misheard(replace(answer, samples=telephone(answer.samples)), turn, ear)
            )
            kept = digits - lost.total()
            print(f"{name:<14} the model {right} of {len(persons)}, an ear {kept} of {digits} {dict(lost)}", flush=True)


if __name__ == "__main__":
    main()
