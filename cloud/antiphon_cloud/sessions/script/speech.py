"""The machine of a model that only speaks: what its text stream holds while it reads a script aloud.

The model draws `NEW_WORD` where a word may begin. A second text stream tells it the tokens of a word some words
ahead; both are one number, which the model's embedding parts again. The sound of a word comes a fixed number of steps
after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon_cloud.model.tokens import NEW_WORD
from antiphon_cloud.sessions.script.entries import Texts
from antiphon_cloud.sessions.script.machine import (
    PADDING,
    Chance,
    Outcome,
)

MAX_PADDING = 8  # steps without a word, after which the next one begins
FINAL_PADDING = 4  # steps after the end of a text, beside those until its sound
INITIAL_PADDING = 2  # steps before the first word, so that its sound is not cut
NOTHING = -1  # in the second text stream


@dataclass(frozen=True, slots=True)
class _State:
    forced: int = INITIAL_PADDING  # steps in which no word begins
    remaining: int = INITIAL_PADDING  # of padding, until a word must begin
    queued: tuple[int, ...] = ()  # tokens of the last word
    ahead: tuple[int, ...] = ()  # tokens for the second text stream
    rest: int | None = None  # once the text has ended: steps until its last sound


class SpeechMachine:
    """Reads texts aloud, one after the other; implements `Machine`.

    Args:
        texts: what is to be said.
        text_card: text tokens of the model.
        words_ahead: how far ahead the second text stream looks; 0 for a model without one.
        sound_delay: steps from a word to its sound.
    """

    def __init__(self, texts: Texts, text_card: int, words_ahead: int, sound_delay: int) -> None:
        self.texts = texts
        self._initial_token = text_card  # the embedding's last row: as many tokens as there are, and this one
        self._words_ahead = words_ahead
        self._sound_delay = sound_delay
        self._state = _State()
        self._said = texts.given

    @property
    def chance(self) -> Chance:
        """See `Machine`."""
        state = self._state
        if state.rest is not None or state.queued or state.forced or (self.texts.closed and self.texts.current.empty):
            return Chance.NEVER
        return Chance.DRAWN if state.remaining else Chance.ALWAYS

    @property
    def starved(self) -> bool:
        """Whether a word might begin that is not known, or one that the second text stream looks ahead to; or nothing
        was given at all."""
        text = self.texts.current
        if self._state.rest is not None or text.complete or self.texts.closed:
            return False
        if not text.begun and not text.entries:
            return True
        if self.chance is Chance.NEVER:
            return False
        if not text.entries:
            return True
        looks_ahead = bool(text.entries[0].tokens and self._words_ahead)
        return looks_ahead and text.word_after(self._words_ahead) is None

    def could(self, event: bool) -> bool:
        """See `Machine`."""
        if self.starved:
            return not event and self.settled
        return self.chance is not (Chance.NEVER if event else Chance.ALWAYS)

    def begin_midway(self) -> None:
        """See `Machine`."""
        self._state = _State(forced=0)

    @property
    def settled(self) -> bool:
        """See `Machine`."""
        return self._state.rest is None and self.texts.current.empty

    def fed(self, event: bool) -> int:
        """See `Machine`."""
        return self._next(event)[1]

    def advance(self, event: bool, text_token: int) -> Outcome:
        """See `Machine`."""
        self._state, _ = self._next(event)
        said = None
        if event:
            if self.texts.current.entries:
                self._said = self.texts.begin().end
            said = self._said
        if self._state.rest == 0:
            self.texts.next_text()
            self._state = _State()
            return Outcome(said, said_all=True)
        return Outcome(said)

    def _next(self, event: bool) -> tuple[_State, int]:
        """The state after the next step, and what it feeds."""
        state, entries = self._state, self.texts.current.entries
        rest = None if state.rest is None else state.rest - 1
        word = False
        if event and entries:
            entry = entries[0]
            state = replace(state, forced=entry.padding)
            if entry.tokens:
                word = True
                state = replace(
                    state, remaining=MAX_PADDING, queued=entry.tokens, ahead=state.ahead + self._tokens_ahead()
                )
        elif event:
            word = bool(self._words_ahead)
            rest = self._sound_delay + FINAL_PADDING - 1
        main, queued = NEW_WORD, state.queued
        if not word:
            state = replace(state, remaining=max(0, state.remaining - 1), forced=max(0, state.forced - 1))
            main, queued = _pop(queued)
        if not self._words_ahead:
            return replace(state, queued=queued, rest=rest), main
        second, ahead = NOTHING, state.ahead
        if main == NEW_WORD:  # it goes to the second text stream, and the word's first token takes its place
            second = NEW_WORD
            main, queued = _pop(queued)
        elif ahead:
            second, *later = ahead
            ahead = tuple(later)
        fed = (second + 1) * (self._initial_token + 1) + main
        return replace(state, queued=queued, ahead=ahead, rest=rest), fed

    def _tokens_ahead(self) -> tuple[int, ...]:
        """The tokens of the word `words_ahead` after the one that begins; none where there is none."""
        if not self._words_ahead:
            return ()
        ahead = self.texts.current.word_after(self._words_ahead)
        return ahead.tokens if ahead is not None else ()


def _pop(queued: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """The next queued token, or padding; and the others."""
    return (queued[0], queued[1:]) if queued else (PADDING, ())
