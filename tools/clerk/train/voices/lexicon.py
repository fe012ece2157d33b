"""How words are pronounced: misaki's lexicons (hexgrad, Apache-2.0), American and British, in Kokoro's alphabet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from antiphon.errors import AntiphonError
from tools.clerk.train.packages import FOLDER

PAUSES = ".,"
_UNSTRESSED = {"a": "ɐ", "the": "ðə", "to": "tə", "I": "I", "an": "ɐn", "and": "ænd", "of": "əv"}
"""Words that the lexicons have as one says them alone."""


@dataclass(frozen=True)
class Pronounced:
    """The phonemes of a line, and where each word's begin and end."""

    phonemes: str
    spans: tuple[tuple[str, int, int], ...]  # word, first phoneme, the one after the last


class Lexicon:
    """One of the two lexicons.

    Raises:
        AntiphonError: it is not there.
    """

    def __init__(self, *, british: bool = False, folder: Path = FOLDER) -> None:
        self._words: dict[str, str | dict[str, str] | None] = {}
        for quality in ("silver", "gold"):  # gold, which people checked, last
            path = folder / f"misaki/data/{'gb' if british else 'us'}_{quality}.json"
            try:
                self._words |= json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError as error:
                raise AntiphonError(f"{path} is missing: run `make voices`") from error

    def phonemes(self, word: str) -> str | None:
        """The phonemes of a word; None if it has none here. A capital alone is a letter's name."""
        if word in _UNSTRESSED:
            return _UNSTRESSED[word]
        found = self._words.get(word) or self._words.get(word.lower())
        return found["DEFAULT"] if isinstance(found, dict) else found

    def knows(self, words: Sequence[str]) -> bool:
        """Whether all words have phonemes."""
        return all(word in PAUSES or self.phonemes(word) for word in words)

    def pronounce(self, words: Sequence[str]) -> Pronounced:
        """The phonemes of words and of the pauses between them (`PAUSES`).

        Raises:
            AntiphonError: a word has no phonemes.
        """
        line, spans = "", []
        for word in words:
            if word in PAUSES:
                line += word
                continue
            said = self.phonemes(word)
            if not said:
                raise AntiphonError(f"the lexicon has no “{word}”; say it in other words")
            line += " " if line else ""
            spans.append((word, len(line), len(line) + len(said)))
            line += said
        return Pronounced(line, tuple(spans))
