"""Makes the banks of clips of digits and other words, in many voices, some of them held out from training.

Training's clips are made in parts of a file each, which are kept: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from tools.clerk.train.data.clips import DIGITS, FRAME, Clip, Throat, load_clips, revoiced, save_clips
from tools.clerk.train.data.other_words import ALPHABET, dictionary_words
from tools.clerk.train.data.synthesizers import Espeak, festival, flite, pico, saytime
from tools.clerk.train.data.variants import child
from tools.clerk.train.stage import positive, run

UNITS = ("ready", "you said", *DIGITS)  # what the answering voice says
ANSWERING_VOICE = "rms"  # the recognizer gets all its digits right; it takes slt's "four" for "five"

# "en" is British English: espeak-ng knows "en-gb" as a language, not as a voice.
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
VARIANTS = """
    Alex Alicia Andrea Annie Denis Diogo Henrique Hugo Jacky Lee Mario Michael Mike adam anika antonio aunty
    benjamin boris caleb david ed edward f1 f2 f3 f5 grandma grandpa gustave iven iven2 iven3 john kaukovalta
    klatt klatt2 klatt3 m1 m2 m3 m4 m6 m7 m8 marcelo max miguel norbert pablo paul pedro quincy rob robert
    sandro shelby steph steph2 zac
""".split()  # noqa: SIM905 - a list would take five times as many lines
FLITE = ("slt", "rms", "kal16")
PICO = ("en-GB", "en-US")
HELD_OUT_VARIANTS = ("Andy", "Gene", "Marco", "belinda", "f4", "linda", "m5", "michel", "travis", "victor")
HELD_OUT_FLITE = ("awb",)
"""Voices that training never uses: ten variants of espeak-ng, and flite's voice of a Scot, made from recordings."""

PART = 1000  # clips that one process makes at a time
CHILDREN = 32  # new variants of espeak-ng per part
THROATS = 8  # vocal tracts for the other voices of a part


def answering_units() -> dict[str, Clip]:
    """The answering voice's units, each padded to whole frames."""
    units = {}
    for text in UNITS:
        clip = flite([text], ANSWERING_VOICE, 1.1)
        assert clip is not None, text
        frames = -(-len(clip.samples) // FRAME)
        samples = np.pad(clip.samples, (0, frames * FRAME - len(clip.samples)))
        units[text] = Clip(clip.voice, samples, clip.words)
    return units


def make_bank(count: int, seed: int, words: Sequence[str] = DIGITS, *, held_out: bool = False) -> list[Clip]:
    """Makes clips of one to four words without a pause, most of them single words.

    Half are espeak-ng's. For training, most of these have a voice that is a child of two variants, and most other clips
    have another vocal tract, so that a few voices give many speakers.

    Raises:
        AntiphonError: a synthesizer or a voice is not installed.
    """
    rng, bank = np.random.default_rng(seed), list[Clip]()
    with closing(Espeak()) as espeak:
        children = [] if held_out else born(espeak, f"{seed}", rng)
        throats = [] if held_out else [Throat.draw(f"throat{seed}-{i}", rng) for i in range(THROATS)]
        while len(bank) < count:
            said = [words[i] for i in rng.integers(len(words), size=rng.choice((1, 1, 1, 2, 3, 4)))]
            clip = stranger(said, espeak, rng) if held_out else speaker(said, espeak, children, throats, rng)
            if clip is not None:
                bank.append(clip)
    return bank


def born(espeak: Espeak, name: str, rng: np.random.Generator) -> list[str]:
    """Adds new variants to espeak-ng; returns their voices, each with an accent."""
    voices = []
    for i in range(CHILDREN):
        mother, father = (espeak.variant(VARIANTS[j]) for j in rng.choice(len(VARIANTS), 2, replace=False))
        espeak.add(f"child{name}-{i}", child(mother, father, rng))
        voices.append(f"{rng.choice(ACCENTS)}+child{name}-{i}")
    return voices


def speaker(
    words: list[str], espeak: Espeak, children: list[str], throats: list[Throat], rng: np.random.Generator
) -> Clip | None:
    """A clip for training, in a random voice and vocal tract. Some voices say only the first word; some give None."""
    kind = rng.random()
    invented = kind < 0.34
    clip: Clip | None
    if kind < 0.48:
        voice = str(rng.choice(children)) if invented else f"{rng.choice(ACCENTS)}+{rng.choice(VARIANTS)}"
        clip = espeak.speak(words, voice, int(rng.integers(90, 221)), int(rng.integers(10, 91)))
    elif kind < 0.57:
        clip = festival(words, float(rng.uniform(0.8, 1.4)))
    elif kind < 0.6:
        clip = saytime(words[0]) if words[0] in DIGITS else None
    elif kind < 0.73:
        clip = pico(words[0], str(rng.choice(PICO)), int(rng.integers(70, 131)), int(rng.integers(80, 126)))
    else:
        clip = flite(words, str(rng.choice(FLITE)), float(rng.uniform(0.8, 1.4)))
    if clip is None or invented or rng.random() < 0.2:
        return clip
    return revoiced(clip, throats[int(rng.integers(len(throats)))])


def stranger(words: list[str], espeak: Espeak, rng: np.random.Generator) -> Clip | None:
    """A clip of a held-out voice: the Scot, or one of ten variants in one of two accents."""
    kind, _ = rng.random(), rng.integers(7)  # unused, like the one below; keeps the evaluation's voices unchanged
    if kind < 0.5:
        return flite(words, str(rng.choice(HELD_OUT_FLITE)), float(rng.uniform(0.8, 1.4)))
    i = int(rng.integers(len(HELD_OUT_VARIANTS)))
    voice = f"{ACCENTS[(i + 3 * int(rng.integers(2))) % len(ACCENTS)]}+{HELD_OUT_VARIANTS[i]}"
    clip = espeak.speak(words, voice, int(rng.integers(100, 211)), int(rng.integers(15, 86)))
    rng.integers(2)
    return clip


def save_part(path: Path, seed: int, words: Sequence[str]) -> None:
    """Writes `PART` clips for training."""
    new = path.with_suffix(".new.npz")
    save_clips(new, make_bank(PART, seed, words))
    new.replace(path)


def training_bank(
    parts: Path, count: int, seed: int, words: Sequence[str] = DIGITS, processes: int | None = None
) -> list[Clip]:
    """At least `count` clips for training; they depend on the seed alone.

    Parts that the folder `parts` has are kept, others made, by default by a process per core.

    Raises:
        AntiphonError: a synthesizer or a voice is not installed.
    """
    parts.mkdir(parents=True, exist_ok=True)
    paths = {parts / f"{each}.npz": each for each in range(seed * 1000, seed * 1000 - (-count // PART))}
    missing = [(path, each, words) for path, each in paths.items() if not path.exists()]
    # espeak-ng's noise depends on the clips before. With a process per part it depends on the seed alone.
    with get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        pool.starmap(save_part, missing, chunksize=1)
    return [clip for path in paths for clip in load_clips(path)]


def main() -> None:
    """Writes the banks of clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--clips", type=positive, default=18_000)
    parser.add_argument("--other-words", type=positive, help="clips of words other than digits (default: none)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=positive, help="processes at a time (default: one per core)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    out, seed, processes = arguments.out, arguments.seed, arguments.processes
    save_clips(out / "train.npz", training_bank(out / "parts/digits", arguments.clips, seed, processes=processes))
    save_clips(out / "held-out.npz", make_bank(-(-arguments.clips // 15), seed, held_out=True))
    if arguments.other_words:  # same seed, so same speakers: a voice must not predict its words
        others, count = dictionary_words(), arguments.other_words
        save_clips(out / "train-other-words.npz", training_bank(out / "parts/others", count, seed, others, processes))
        save_clips(out / "held-out-other-words.npz", make_bank(-(-count // 15), seed, ALPHABET, held_out=True))
    save_clips(out / "answering.npz", list(answering_units().values()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, and ends the processes of the parts
    run(main, "speech")
