"""Makes the sounds of `make demo` and of the number clerk's test, with voices that training never uses."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from tools import ROOT
from tools.clerk.train.data.clips import DIGITS, FRAME, RATE, Clip
from tools.clerk.train.data.scenes import Track, person
from tools.clerk.train.data.speech import make_bank
from tools.clerk.train.data.synthesizers import Espeak, flite
from tools.clerk.train.stage import run

DEMO = ROOT / "tools/demo/conversation"
TEST = ROOT / "tests/clerk/utterances"
PERIOD_S = 9.0  # from one of the test's utterances to the next


def write(path: Path, track: Track, turns: list[list[str]]) -> None:
    """Writes the sound as FLAC, and the words with their times as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path.with_suffix(".flac"), track.samples, RATE, subtype="PCM_16")
    words = iter(track.words)
    said = [
        [[round(word.start_s, 3), round(word.end_s, 3), word.text] for _, word in zip(turn, words, strict=False)]
        for turn in turns
    ]
    path.with_suffix(".json").write_text(json.dumps(said).replace("]], ", "]],\n") + "\n")


def demo() -> None:
    """Writes the demo: three turns by two voices; the last interrupts the answer to the second."""
    espeak = Espeak()
    voices = {
        "natural": lambda words: flite(words, "awb", 1.2),
        "formants": lambda words: espeak.speak(words, "en-us+Andy", 140, 40),
    }
    track, turns = Track.silent(int(19 * RATE) // FRAME), []
    for at_s, voice, text in (
        (1.8, "natural", "three seven one"),
        (7.2, "formants", "four zero two eight"),
        (10.9, "formants", "nine five"),
    ):
        clip = voices[voice](text.split())
        assert clip is not None
        track.place(clip, int(at_s * RATE))
        turns.append(text.split())
    write(DEMO, track, turns)


def test(count: int) -> None:
    """Writes the test: one utterance every `PERIOD_S`, each for a conversation of its own."""
    rng = np.random.default_rng(77)
    bank: list[Clip] = make_bank(300, 77, held_out=True)
    frames = int(PERIOD_S * RATE) // FRAME
    all_of_them, turns = Track.silent(0), []
    for i in range(count):
        track = person(bank, frames, [(int(1.6 * RATE), 1 + i % 4)], rng, as_recorded=True)
        turns.append([word.text for word in track.words])
        offset_s = len(all_of_them.samples) / RATE
        moved = [type(word)(word.text, word.start_s + offset_s, word.end_s + offset_s) for word in track.words]
        all_of_them = Track(np.concatenate([all_of_them.samples, track.samples]), all_of_them.words + moved)
    assert {digit for turn in turns for digit in turn} == set(DIGITS)
    write(TEST, all_of_them, turns)


def main() -> None:
    """Writes both files."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    demo()
    test(20)


if __name__ == "__main__":
    run(main, "examples")
