"""The machine of a conversation in writing: the person's tokens, one a step, then the model's until it is silent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon_cloud.model.tokens import UNGENERATED
from antiphon_cloud.sessions.script.entries import Texts
from antiphon_cloud.sessions.script.machine import PADDING, Chance, Outcome

SILENT_STEPS = 25  # without text, after which the model has written all that it would
SILENT_TOKENS = frozenset((0, 1, 2, PADDING))


@dataclass(frozen=True, slots=True)
class _State:
    queued: tuple[int, ...] = ()  # tokens of the last word
    answering: bool = False
    silent: int = 0  # replies without text, since the model answers


class WritingMachine:
    """Feeds what the person writes, text after text, and lets the model answer each; implements `Machine`.

    Args:
        texts: what the person writes.
    """

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self._state = _State()
        self._said = texts.given

    @property
    def chance(self) -> Chance:
        """See `Machine`."""
        state, text = self._state, self.texts.current
        return Chance.NEVER if state.answering or state.queued or self._over or text.empty else Chance.ALWAYS

    @property
    def starved(self) -> bool:
        """Whether the next word is not known."""
        text = self.texts.current
        waits = not (text.entries or text.complete or self.texts.closed)
        return waits and not (self._state.answering or self._state.queued)

    def could(self, event: bool) -> bool:
        """See `Machine`."""
        if self.starved:
            return not event and self.settled
        return self.chance is (Chance.ALWAYS if event else Chance.NEVER)

    def begin_midway(self) -> None:
        """See `Machine`."""

    @property
    def settled(self) -> bool:
        """See `Machine`."""
        return self._state.answering or (self.texts.current.empty and not self._state.queued)

    def fed(self, event: bool) -> int:
        """See `Machine`."""
        return self._next(event)[1]

    def advance(self, event: bool, text_token: int) -> Outcome:
        """See `Machine`."""
        state, _ = self._next(event)
        said = None
        if event:
            if self.texts.current.entries:
                self._said = self.texts.begin().end
            said = self._said
        self._state = replace(state, silent=state.silent + 1 if text_token in SILENT_TOKENS else 0)
        if not state.answering or self._state.silent < SILENT_STEPS:
            return Outcome(said)
        self.texts.next_text()
        self._state = _State()
        return Outcome(said, said_all=True)

    @property
    def _over(self) -> bool:
        """Whether nothing was given that the model could still answer, and nothing will be."""
        return self.texts.closed and self.texts.current.empty

    def _next(self, event: bool) -> tuple[_State, int]:
        """The state after the next step, and what it feeds."""
        state, text = self._state, self.texts.current
        if event and text.entries:
            token, *queued = text.entries[0].tokens
            return _State(tuple(queued)), token
        if event:
            return _State(answering=True), UNGENERATED
        if state.queued:
            return replace(state, queued=state.queued[1:]), state.queued[0]
        return state, UNGENERATED
