"""Words as the text stream holds them: tokens, padding after them, and texts that wait behind one another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from antiphon.words import Word, WordCutter
from antiphon_cloud.timing import FRAME_MS

Encode = Callable[[str], Sequence[int]]
"""The tokens of a word."""

FRAMES_A_SECOND = 1000 / FRAME_MS
SPEAKER_TOKENS = (1, 2)  # before the first word of each speaker's turn


@dataclass(frozen=True, slots=True)
class Entry:
    """A word, or a pause."""

    tokens: tuple[int, ...]  # none: a pause
    text: str
    padding: int  # steps after it in which no other begins
    end: int  # characters of all that was given up to its end
    size_bytes: int = 0


@dataclass(slots=True)
class Text:
    """The words of one text that have not begun."""

    entries: deque[Entry] = field(default_factory=deque)
    complete: bool = False
    begun: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing of it has come."""
        return not (self.entries or self.complete or self.begun)

    def word_after(self, count: int) -> Entry | None:
        """The `count`th word, pauses not counted, after the first entry; None where there is none yet."""
        for at, entry in enumerate(self.entries):
            if at and entry.tokens:
                count -= 1
                if not count:
                    return entry
        return None


class Texts:
    """What a session was given to say and has not said: texts, one after the other.

    Args:
        encode: the tokens of a word.
        start: characters that came before.
        speaker_tokens: whether a turn begins with its speaker's token.
        padding_between: forced after each word, beside that for its tokens; it makes a model articulate better.
        spoken: see `WordCutter`.
    """

    def __init__(
        self,
        encode: Encode,
        start: int = 0,
        *,
        speaker_tokens: bool = False,
        padding_between: int = 0,
        spoken: bool = True,
    ) -> None:
        self._encode = encode
        self._speaker_tokens = speaker_tokens
        self._padding_between = padding_between
        self._spoken = spoken
        self._cutter = WordCutter(start, spoken=spoken)
        self._speaker: int | None = None  # of the last word of the text that comes in
        self._texts = deque([Text()])
        self._bytes = 0  # of the entries that have not begun
        self.given = start
        """Characters of all that was given."""
        self.closed = False
        """Whether no more will come."""

    @property
    def current(self) -> Text:
        """The text that is being said, or will be next."""
        return self._texts[0]

    @property
    def waiting_bytes(self) -> int:
        """UTF-8 of the words that have not begun."""
        return self._bytes + self._cutter.rest_bytes

    def add(self, text: str, speaker: int, *, end: bool) -> None:
        """Takes part of a text; errors as `WordCutter.add`, and nothing is taken then."""
        for word in self._cutter.add(text, speaker, end=end):
            entry = self._entry(word)
            if not (entry.tokens or self._spoken):
                continue
            self._texts[-1].entries.append(entry)
            self._bytes += entry.size_bytes
        self.given += len(text)
        if end:
            self._complete()

    def close(self) -> None:
        """No more will come: what was given is complete."""
        if self._cutter.has_words:
            self.add("", self._cutter.speaker, end=True)
        elif self._texts[-1].entries or self._texts[-1].begun:
            self._complete()
        self.closed = True

    def begin(self) -> Entry:
        """Takes the current text's next entry."""
        self.current.begun = True
        entry = self.current.entries.popleft()
        self._bytes -= entry.size_bytes
        return entry

    def next_text(self) -> None:
        """The current text, which is complete, is over."""
        assert self.current.complete, "a text that still comes in is not over"
        self._texts.popleft()

    def _complete(self) -> None:
        self._texts[-1].complete = True
        self._texts.append(Text())
        self._speaker = None

    def _entry(self, word: Word) -> Entry:
        if not word.text:
            return Entry((), "", round(word.pause_s * FRAMES_A_SECOND), word.end, word.size_bytes)
        tokens = tuple(self._encode(word.text))
        if self._speaker_tokens and word.speaker != self._speaker:
            tokens = (SPEAKER_TOKENS[word.speaker], *tokens)
        self._speaker = word.speaker
        padding = max(0, self._padding_between + len(tokens) - 1) if self._padding_between else 0
        return Entry(tokens, word.text, padding, word.end, word.size_bytes)
