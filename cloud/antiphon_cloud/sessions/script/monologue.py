"""The machine of a dialogue: words that are forced into the model's inner monologue while it goes on listening.

The first word of a text begins at once. When each other one begins the model decides, by drawing `NEW_WORD`, once
the tokens of the word before are all in the stream, and at the latest after `MAX_PADDING` steps without one. After the
last word the model is free again. It is so too where a text that has not ended brings no word for `HOLD_STEPS`: what
comes of it later begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon_cloud.model.tokens import NEW_WORD, UNGENERATED
from antiphon_cloud.sessions.script.entries import Texts
from antiphon_cloud.sessions.script.machine import PADDING, Chance, Outcome

MAX_PADDING = 4  # steps without a token, after which the next word begins: slow speech
HOLD_STEPS = 25  # 2 s of silence while the next words are waited for
LAST_SOUND_STEPS = 8  # from the step at which the model is free again to the end of the last word's sound


@dataclass(frozen=True, slots=True)
class _State:
    active: bool = False  # words are forced
    forced: int = 0  # steps in which no word begins
    padded: int = 0  # steps since the last word's last token
    queued: tuple[int, ...] = ()  # tokens of the last word
    rest: int = 0  # once the text has ended: steps until its last sound


class MonologueMachine:
    """Says texts in a dialogue, one after the other; implements `Machine`.

    Args:
        texts: what is to be said.
    """

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self._state = _State()
        self._said = texts.given

    @property
    def chance(self) -> Chance:
        """See `Machine`."""
        state, text = self._state, self.texts.current
        if state.rest or state.queued or state.forced:
            return Chance.NEVER
        if not state.active:
            return Chance.ALWAYS if text.entries or text.complete else Chance.NEVER
        if not text.entries:
            return Chance.ALWAYS if text.complete or state.padded >= HOLD_STEPS else Chance.NEVER
        return Chance.ALWAYS if state.padded >= MAX_PADDING else Chance.DRAWN

    @property
    def starved(self) -> bool:
        """Never: the model listens meanwhile."""
        return False

    def could(self, event: bool) -> bool:
        """See `Machine`."""
        state, text = self._state, self.texts.current
        if event:
            return not (state.rest or state.queued or state.forced) and bool(
                state.active or text.entries or text.complete
            )
        return bool(state.forced) or state.padded < HOLD_STEPS

    def begin_midway(self) -> None:
        """See `Machine`."""

    @property
    def settled(self) -> bool:
        """See `Machine`."""
        return not self._state.active and not self._state.rest

    def fed(self, event: bool) -> int:
        """See `Machine`."""
        return self._next(event)[1]

    def advance(self, event: bool, text_token: int) -> Outcome:
        """See `Machine`."""
        before = self._state.rest
        self._state, _ = self._next(event)
        said = None
        if event:
            if self.texts.current.entries:
                self._said = self.texts.begin().end
            said = self._said
        if before and not self._state.rest:
            self.texts.next_text()
            return Outcome(said, said_all=True)
        return Outcome(said)

    def _next(self, event: bool) -> tuple[_State, int]:
        """The state after the next step, and what it feeds."""
        state, text = self._state, self.texts.current
        if event and text.entries:
            entry = text.entries[0]
            token = NEW_WORD if entry.tokens else PADDING
            return _State(active=True, forced=entry.padding, queued=entry.tokens), token
        if event:  # the model is free again
            return _State(rest=LAST_SOUND_STEPS if text.complete else 0), UNGENERATED
        if not state.active:
            return replace(state, rest=max(0, state.rest - 1)), UNGENERATED
        forced = max(0, state.forced - 1)
        if state.queued:
            return replace(state, forced=forced, queued=state.queued[1:]), state.queued[0]
        return replace(state, forced=forced, padded=state.padded + 1), PADDING
