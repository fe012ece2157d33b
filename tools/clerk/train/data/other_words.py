"""Words other than digits, which the clerk does not answer: a dictionary's for training, others for the evaluation."""

from __future__ import annotations

import re
from pathlib import Path

from tools.clerk.train.data.clips import DIGITS
from tools.clerk.train.data.synthesizers import missing

DICTIONARY = Path("/usr/share/dict/american-english-small")  # from SCOWL, which is free for any use
ALPHABET = """
    alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo
    sierra tango uniform victor whiskey yankee zulu
""".split()  # noqa: SIM905 - more readable than a list
"""The radio alphabet, which training never uses; without x-ray, which is two words for a synthesizer."""

ALIKE = """
    ate fate fifth fight fin fine fir fire for fore fort free hero heron knight mine nigh night ninth oh on once
    sax sever sex sic sick sin son sun tea thee thew to too tow tree true wan want win wine won
""".split()  # noqa: SIM905
"""Words that noise or an accent can turn into a digit."""

_DIGIT = re.compile("|".join(DIGITS))
# Words that are left out, and their inflections.
_FORM = re.compile(rf"({'|'.join((*ALPHABET, *ALIKE))})(s|es|d|ed|r|er|ing|th|ths|ty)?")
_NUMBER = re.compile("c{0,3}(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})")  # Roman numerals, which espeak-ng reads as numbers


def dictionary_words() -> list[str]:
    """The dictionary's words of two to nine letters, without `ALPHABET` and without words that may sound like a digit.

    The latter include words that contain a digit's spelling.

    Raises:
        AntiphonError: the dictionary is not installed.
    """
    try:
        words = DICTIONARY.read_text(encoding="utf-8").split()
    except FileNotFoundError as error:
        raise missing("wamerican-small") from error
    return [
        word
        for word in words
        if re.fullmatch("[a-z]{2,9}", word)
        and not (_DIGIT.search(word) or _FORM.fullmatch(word) or _NUMBER.fullmatch(word))
    ]
