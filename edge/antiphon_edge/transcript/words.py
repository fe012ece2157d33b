"""The words that a model hears, with their times, from the tokens that it writes.

words = Words(session.model, codec.spec.frame_s)
async for reply in session:
    for word in words.add(reply):
        print(word.text)

The model writes token 0 before a word, then the word's pieces, a token a step, then padding; all of it as late as
`ModelSpec.text_delay_ms` says. The published server (moshi-server) has a word start at its token 0 and end at the next
one, and so has this. The server knows no start of a word without a token 0 of its own: it joins such a word to the one
before it, or gives it that one's start. Here it starts with its first piece, which also ends the word before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon.spec import ModelSpec
from antiphon_edge.client.events import Reply

WORD_TOKEN = 0  # "a word begins"; the published models have no other
LAST_WORD_S = 1.0  # a last word, which no other ends, is as long as that, or less where the sound ends before


@dataclass(frozen=True, slots=True)
class Word:
    """A word that was heard; times are seconds in the sound."""

    text: str
    start_s: float
    end_s: float | None = None
    """None where it is not known yet: the word comes again once it is."""


class Words:
    """Makes words of a session's replies, all of them, in order. No I/O; it keeps no word but the last.

    Args:
        model: which listens.
        frame_s: seconds of a frame.
    """

    def __init__(self, model: ModelSpec, frame_s: float) -> None:
        self._padding = model.text_padding_token
        self._frame_s = frame_s
        self._delay_steps = model.text_delay_ms // round(1000 * frame_s)  # whole ones, as the server has it
        self._before_s = model.silence_before_ms / 1000
        self._text = ""
        self._start_s: float | None = None  # of the word that is being written
        self._begin_s: float | None = None  # of token 0, where no piece has followed it
        self._open: Word | None = None  # written, and its end is not known
        self._now_s = 0.0

    @property
    def now_s(self) -> float:
        """How far the sound is written down: seconds in it."""
        return self._now_s

    def add(self, reply: Reply) -> list[Word]:
        """What the reply makes known: a word without its end as soon as it is written, and the same word with its end
        once that is there. One reply may bring both, and of two words."""
        steps = reply.sequence + 1 - self._delay_steps
        if steps < 0 or reply.text_token is None:  # written before anything can have been heard
            return []
        self._now_s = max(0.0, steps * self._frame_s - self._before_s)
        if reply.text_token == WORD_TOKEN:
            self._begin_s = self._now_s
            return self._complete() + self._close(self._now_s)
        if reply.text_token == self._padding:
            return self._complete()
        known = []
        if self._start_s is None or (reply.text[:1].isspace() and self._text.strip()):
            known = self._complete()
            self._start_s = self._now_s if self._begin_s is None else self._begin_s
            self._begin_s = None
            known += self._close(self._start_s)
        self._text += reply.text
        return known

    def end(self) -> list[Word]:
        """The last word, where it is not known whole: no more replies will come."""
        known = self._complete()
        if self._open is not None:
            known += self._close(max(self._open.start_s, min(self._open.start_s + LAST_WORD_S, self._now_s)))
        return known

    def _complete(self) -> list[Word]:
        """The word that was being written, if any."""
        text, start_s = self._text.strip(), self._start_s
        self._text, self._start_s = "", None
        if start_s is None or not text:
            return []
        self._open = Word(text, start_s)
        return [self._open]

    def _close(self, end_s: float) -> list[Word]:
        """The last word with its end, where that was not known."""
        word, self._open = self._open, None
        return [] if word is None else [replace(word, end_s=end_s)]
