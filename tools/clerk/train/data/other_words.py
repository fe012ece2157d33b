"""Words that are no digits: whoever says them is not answered. Training has a dictionary's, the evaluation others."""

from __future__ import annotations

import re
from pathlib import Path

from tools.clerk.train.data.clips import DIGITS
from tools.clerk.train.data.synthesizers import missing

DICTIONARY = Path("/usr/share/dict/american-english-small")  # of SCOWL, which is free for any use
ALPHABET = """
    alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo
    sierra tango uniform victor whiskey yankee zulu
""".split()  # noqa: SIM905 - as long as it is readable
"""The radio alphabet: training never hears these (nor x-ray, which is two words to a synthesizer)."""

ALIKE = """
    ate fate fifth fight fin fine fir fire for fore fort free hero heron knight mine nigh night ninth oh on once
    sax sever sex sic sick sin son sun tea thee thew to too tow tree true wan want win wine won
""".split()  # noqa: SIM905
"""What noise or an accent turns into a digit."""

_DIGIT = re.compile("|".join(DIGITS))
_FORM = re.compile(rf"({'|'.join((*ALPHABET, *ALIKE))})(s|es|d|ed|r|er|ing|th|ths|ty)?")  # of one that is left out
_NUMBER = re.compile("c{0,3}(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})")  # a Roman one, which espeak-ng reads as such


def dictionary_words() -> list[str]:
    """The dictionary's words of two to nine letters, but those of `ALPHABET` and what may sound like a digit.

    That is what is spelled with a digit inside, too.

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
