"""Words that are no digits: whoever says them is not answered. Training has a dictionary's, the evaluation others."""

from __future__ import annotations

import re
from pathlib import Path

from train.clips import DIGITS
from train.synthesizers import missing

DICTIONARY = Path("/usr/share/dict/american-english-small")  # of SCOWL, which is free for any use
ALPHABET = """
    alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo
    sierra tango uniform victor whiskey yankee zulu
""".split()  # noqa: SIM905 - as long as it is readable
"""The radio alphabet: training never hears these (nor x-ray, which is two words to a synthesizer)."""

ALIKE = """
    ate fate fife fight fine fire for fore four free hero heron mine nein night nigh neon sax sex sick sics
    sin son sun sven sever tea three threw through to too tow tree true two wan want wine won
""".split()  # noqa: SIM905
"""What noise or an accent turns into a digit."""


def other_words() -> list[str]:
    """The dictionary's words of two to nine letters that are not, hold or resemble a digit, and not of `ALPHABET`.

    Raises:
        AntiphonError: the dictionary is not installed.
    """
    try:
        words = DICTIONARY.read_text(encoding="utf-8").split()
    except FileNotFoundError as error:
        raise missing("wamerican-small") from error
    never = re.compile("|".join(DIGITS))
    return [
        word
        for word in words
        if re.fullmatch("[a-z]{2,9}", word) and not never.search(word) and word not in (*ALPHABET, *ALIKE)
    ]
