"""What natural voices say: a carrier sentence, then phrases of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tools.clerk.train.data.clips import DIGITS
from tools.clerk.train.voices.sentences import ANNOUNCEMENTS, COUNTED, NUMBERS, PHRASES, TIMES

CARRIERS = (
    "could you please write down the following number",
    "i am going to read a few things to you now",
    "please listen to what i have to say next",
    "here is what they told me to say this morning",
)
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MOST = 4  # digits of a number
LONGEST = 70  # words of a line; Kokoro takes 510 phonemes
DICTATED = 0.25  # share of numbers whose digits have a comma between them
Phrase = list[str]


def number(rng: np.random.Generator) -> Phrase:
    """One to four digits."""
    return [str(digit) for digit in rng.choice(DIGITS, int(rng.integers(1, MOST + 1)))]


def announced(rng: np.random.Generator) -> Phrase:
    """A sentence that ends with a number of two to four digits."""
    digits = rng.choice(DIGITS, int(rng.integers(2, MOST + 1)))
    return [*str(rng.choice(ANNOUNCEMENTS)).split(), *(str(digit) for digit in digits)]


def counted(rng: np.random.Generator) -> Phrase:
    """A sentence with a digit in it that counts something, or a number that is not said digit by digit."""
    kind = rng.random()
    if kind < 0.2:
        return str(rng.choice(NUMBERS)).split()
    template = str(rng.choice(COUNTED if kind < 0.75 else TIMES))
    return [str(rng.choice(DIGITS[1:])) if word == "#" else word for word in template.split()]


def phrase(rng: np.random.Generator) -> Phrase:
    """What people say to each other, or to a machine."""
    return str(rng.choice(PHRASES)).split()


def letters(rng: np.random.Generator) -> Phrase:
    """One to four letters."""
    return [str(letter) for letter in rng.choice(LETTERS, int(rng.integers(1, 5)))]


def words(dictionary: Sequence[str]) -> Callable[[np.random.Generator], Phrase]:
    """One to six words of a dictionary, in no order."""

    def drawn(rng: np.random.Generator) -> Phrase:
        return [str(word) for word in rng.choice(dictionary, int(rng.choice((1, 1, 1, 2, 3, 4, 5, 6))))]

    return drawn


def lines_of(phrases: Sequence[Phrase], rng: np.random.Generator) -> list[tuple[list[str], list[int]]]:
    """The phrases in lines of up to `LONGEST` words, each with a carrier before them.

    Returns:
        The words and pauses of each line, and the number of words of each of its parts; the carrier is the first.
    """
    lines = list[tuple[list[str], list[int]]]()
    for said in phrases:
        if not lines or sum(lines[-1][1]) + len(said) > LONGEST:
            carrier = str(rng.choice(CARRIERS)).split()
            lines.append(([*carrier, "."], [len(carrier)]))
        line, parts = lines[-1]
        dictated = set(said) <= set(DIGITS) and rng.random() < DICTATED
        for i, word in enumerate(said):
            line += [",", word] if dictated and i else [word]
        line.append("." if rng.random() < 0.7 else ",")
        parts.append(len(said))
    return lines
