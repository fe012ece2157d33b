"""A text to say, cut into words and pauses as it comes: both sides cut it alike.

A word ends at white space, where another speaker begins, and where the text ends. `<break time="0.5s"/>` is a pause,
the one tag of SSML that is known. The sides count characters of all that a session was given to say: by them they speak
of a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from antiphon.errors import ProtocolError

LONGEST_WORD = 512  # characters; more is no word, and would never be complete
LONGEST_PAUSE_S = 60.0

_AS_SPOKEN = str.maketrans({"’": "'", ":": " "})
_UNSPOKEN = str.maketrans("", "", "()")
_EVENT = re.compile(r'<break\s+time="([0-9]+(?:\.[0-9]*)?)s"\s*/?>|\s+')
_TAG = ("<", *"break", r"\s+", *"time", "=", '"', r"[0-9]+(?:\.[0-9]*)?", "s", '"', r"\s*", "/?", ">")


def _beginning(parts: tuple[str, ...]) -> str:
    """A pattern of what `parts` may begin with, the first of them at least."""
    pattern = ""
    for part in reversed(parts[1:]):
        pattern = f"(?:{part}{pattern})?"
    return parts[0] + pattern


_UNFINISHED = re.compile(rf"{_beginning(_TAG[:-1])}\Z")  # a tag of which more may come
_WHITE_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or a pause, of a text."""

    text: str  # as it is spoken; empty: a pause
    end: int  # characters of all that was given up to its end
    size_bytes: int  # of its UTF-8, as it was given
    speaker: int = 0
    pause_s: float = 0.0


class WordCutter:
    """Cuts all that a session is given to say.

    Args:
        start: characters that came before.
        spoken: whether the text is to be spoken: then it may have pauses, and what nobody pronounces is dropped.
            Otherwise words are as they are written.
    """

    def __init__(self, start: int = 0, *, spoken: bool = True) -> None:
        self._spoken = spoken
        self.speaker = 0
        """Whose turn it is."""
        self._rest = ""  # what may be the beginning of a word
        self._read = start  # characters before the rest
        self._words = 0  # of the text that has not ended, pauses excluded

    @property
    def rest_bytes(self) -> int:
        """UTF-8 of the word that is not complete."""
        return _size(self._rest)

    @property
    def has_words(self) -> bool:
        """Whether the text that has not ended has any word, the one that is not complete included."""
        return bool(self._words or self._rest)

    def add(self, text: str, speaker: int = 0, *, end: bool = False) -> list[Word]:
        """The words that `text` completes; nothing is taken where it raises.

        Args:
            text: any part of what is to be said.
            speaker: whose turn it is; another one than before completes a word.
            end: the text is complete with this.

        Raises:
            ProtocolError: a word or a pause is too long, or the text that ends has no words.
        """
        words: list[Word] = []
        rest, read = self._rest, self._read
        if speaker != self.speaker:
            rest, read = self._cut(rest, read, self.speaker, words, whole=True)
        rest, read = self._cut(rest + text, read, speaker, words, whole=end)
        if len(rest) > LONGEST_WORD:
            raise ProtocolError(
                f"say.text: {rest[:20]!r}… has more than {LONGEST_WORD} characters without white space: part the words"
            )
        count = self._words + sum(bool(word.text) for word in words)
        if end and not count:
            raise ProtocolError("say.end: the text that ends here has no words: give some before its end")
        self._rest, self._read, self.speaker = rest, read, speaker
        self._words = 0 if end else count
        return words

    def _cut(self, text: str, read: int, speaker: int, words: list[Word], *, whole: bool) -> tuple[str, int]:
        """Appends the words that are complete; returns the rest, and the characters before it."""
        seen = text.translate(_AS_SPOKEN) if self._spoken else text
        unfinished = None if whole or not self._spoken else _UNFINISHED.search(seen)
        limit = len(seen) if unfinished is None else unfinished.start()
        at = 0
        for event in (_EVENT if self._spoken else _WHITE_SPACE).finditer(seen, 0, limit):
            self._append(words, seen[at : event.start()], text[at : event.start()], read + event.start(), speaker)
            if self._spoken and event[1]:
                pause = Word("", read + event.end(), _size(event[0]), speaker, _pause_s(event[1]))
                words.append(pause)
            at = event.end()
        if whole:
            self._append(words, seen[at:], text[at:], read + len(text), speaker)
            at = len(text)
        return text[at:], read + at

    def _append(self, words: list[Word], seen: str, given: str, end: int, speaker: int) -> None:
        if len(given) > LONGEST_WORD:
            raise ProtocolError(
                f"say.text: {given[:20]!r}… has {len(given)} characters without white space: part the words"
            )
        if spoken := seen.translate(_UNSPOKEN) if self._spoken else seen:
            words.append(Word(spoken, end, _size(given), speaker))


def _pause_s(digits: str) -> float:
    """A pause's length.

    Raises:
        ProtocolError: it is longer than any that is meant.
    """
    pause_s = float(digits)
    if pause_s > LONGEST_PAUSE_S:
        raise ProtocolError(
            f"say.text: a pause of {digits[:20]} s, longer than {LONGEST_PAUSE_S:.0f}: make it shorter, or several"
        )
    return pause_s


def _size(text: str) -> int:
    return len(text.encode())
