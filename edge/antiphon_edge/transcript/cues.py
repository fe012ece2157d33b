"""Words cut into cues, as subtitles show them: short enough to be read, and broken where the speech breaks.

The figures are those of the guides of Netflix and the BBC: two lines of 42 characters, 5/6 to 7 s, 20 characters a
second.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from antiphon_edge.transcript.words import Word

LINE_CHARACTERS = 42
LINES = 2
SHORTEST_S = 5 / 6
LONGEST_S = 7.0
READ_CHARACTERS_S = 20.0
INSTANT_S = 0.001  # no cue is empty, though the words before the first sound all have its time
WORD_S = 1.0  # a word's end is the next one's beginning: a longer one lasts into a pause
PAUSE_S = 0.5  # after that, another cue
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
CLOSING_MARKS = "\"'”’»)]"


@dataclass(frozen=True, slots=True)
class Cue:
    """Words that are shown together, from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """All of it in one line."""
        return " ".join(word.text for word in self.words)

    @property
    def lines(self) -> list[str]:
        """The text as it is shown."""
        return broken(self.text)


class Cues:
    """Cuts a stream of words into cues. No I/O; it keeps no more than one cue.

    Args:
        single: each word is a cue of its own.
    """

    def __init__(self, *, single: bool = False) -> None:
        self._single = single
        self._words: list[Word] = []

    def add(self, word: Word) -> list[Cue]:
        """The cue that `word`, the next one with a known end, does not belong to any more."""
        done = []
        if self._words and (self._single or not self._belongs(word)):
            done = [self._cue(word.start_s)]
            self._words = []
        self._words.append(word)
        return done

    def end(self) -> list[Cue]:
        """The last cue."""
        return [self._cue(None)] if self._words else []

    def _belongs(self, word: Word) -> bool:
        """Whether the word is shown with those before it."""
        first, last = self._words[0], self._words[-1]
        text = " ".join(each.text for each in (*self._words, word))
        spoken_s = _spoken_until_s(last) - first.start_s
        ended = last.text.rstrip(CLOSING_MARKS).endswith(SENTENCE_ENDS) and spoken_s >= SHORTEST_S
        return (
            not ended
            and len(broken(text)) <= LINES
            and word.start_s - _spoken_until_s(last) < PAUSE_S
            and _spoken_until_s(word) - first.start_s <= LONGEST_S
        )

    def _cue(self, next_s: float | None) -> Cue:
        """The words' cue, which stays until it can have been read, unless the next one begins before."""
        words = tuple(self._words)
        start_s, end_s = words[0].start_s, _spoken_until_s(words[-1])
        if not self._single:
            characters = len(" ".join(word.text for word in words))
            reading_s = min(LONGEST_S, max(SHORTEST_S, characters / READ_CHARACTERS_S))
            end_s = max(end_s, start_s + reading_s)
            end_s = end_s if next_s is None else min(end_s, next_s)
        return Cue(start_s, max(end_s, start_s + INSTANT_S), words)


def broken(text: str) -> list[str]:
    """The text in lines of `LINE_CHARACTERS` at most: one, or two much as long, or as many as it takes."""
    if len(text) <= LINE_CHARACTERS:
        return [text]
    pairs = [(text[:at], text[at + 1 :]) for at, character in enumerate(text) if character == " "]
    sizes = [(max(len(upper), len(lower)), len(upper), [upper, lower]) for upper, lower in pairs]
    if sizes and min(sizes)[0] <= LINE_CHARACTERS:
        return min(sizes)[2]
    return textwrap.wrap(text, LINE_CHARACTERS)


def _spoken_until_s(word: Word) -> float:
    assert word.end_s is not None, "cues are made of whole words"
    return min(word.end_s, word.start_s + WORD_S)
