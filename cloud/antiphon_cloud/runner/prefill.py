"""A session rebuilt from its tokens: keys and values by teacher-forced prefill, chunk by chunk, and the steps that the
delays still hide once more.

Of a step whose tokens are all known only its keys and values matter, and those of many steps come out of one forward of
the temporal transformer. The last `max_delay` steps are not all known: some of the text and codes that they generated
have not left the worker yet. They are taken again, with the depformer; the same random numbers give the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from antiphon.history import HistoryTokens, Tokens
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.delays import delayed
from antiphon_cloud.model.tokens import ZERO


class SlotRunner(Protocol):
    """What a rebuild drives."""

    def place(self, slot: int, step: int, steps: range, tokens: npt.NDArray[np.int32]) -> None:
        """Puts the slot's session before `step`, with what its streams hold at the steps around."""

    def prefill(self, slot: int, inputs: npt.NDArray[np.int32] | Tensor, steps: range, first: int) -> None:
        """Writes the keys and values of steps whose inputs are known."""

    def step(
        self, slots: Sequence[int], user_codes: npt.NDArray[np.int32], forced: npt.NDArray[np.int32] | None = None
    ) -> object:
        """Advances the slots by one frame each."""


def history_steps(config: LMConfig) -> int:
    """Steps of history from which a session comes out the same as if it had never been rebuilt.

    What a step knows of the past is in the ring, which holds `context` steps. But each layer's entries were made by
    attending to the layer below it, `context` steps further back: the model's reach is longer than its ring.
    """
    reach = config.num_layers * (config.context - 1)
    return reach + config.max_delay + max(config.max_delay, 1)


@dataclass(frozen=True, slots=True)
class PromptPrefill:
    """What is known of a session's first steps beside their tokens.

    A prompt's last steps, which the delays still hide, are taken again in each session: they are not among these.
    """

    steps: int = 0
    done: bool = False  # the slot has their keys and values already
    keep: Callable[[], None] = lambda: None  # called once the slot has them
    embedded: Tensor | None = None  # the inputs of the very first, [n, dim], whose tokens are not known


class Prefill:
    """Brings a slot to where its session stood, a few steps at a time.

    Args:
        runner: of the slot, which has been reset with the session's seed and sampling.
        config: of the model.
        slot: row of the batch.
        history: the session's tokens.
        window: steps that the slot holds keys and values of.
        prompt: of a session that begins with one, where the history reaches back to it.
    """

    def __init__(
        self,
        runner: SlotRunner,
        config: LMConfig,
        slot: int,
        history: HistoryTokens,
        window: int,
        prompt: PromptPrefill | None = None,
    ) -> None:
        self._runner, self._window, self._slot, self._history = runner, window, slot, history
        # The first steps of a history that does not reach back to the start lack the streams that are delayed.
        self._first = history.first + max(config.max_delay, 1) if history.first else 0
        self._hidden = max(history.steps - config.max_delay, self._first)  # the first step that is taken again
        self._prompt = prompt = prompt or PromptPrefill()
        self._embedded = 0 if prompt.embedded is None else min(len(prompt.embedded), self._hidden)
        self._next = prompt.steps if prompt.done else self._first  # the first step that is not done yet
        self._tokens = held_tokens(config, history, self._first)  # [streams, T + 1]
        around = range(max(self._hidden - 1, self._first), history.steps + 1)
        runner.place(slot, self._hidden, around, self._tokens[:, around.start - self._first :])

    @property
    def left(self) -> int:
        """Steps still to do; none: the session can go on."""
        return self._history.steps - self._next

    def advance(self, steps: int) -> int:
        """Does up to `steps` steps, but takes no more than one again; returns how many."""
        ends = (end for end in (self._embedded, self._prompt.steps, self._hidden) if end > self._next)
        count = min(steps, min(ends, default=self._next) - self._next, self._window)
        if count > 0:
            chunk = range(self._next, self._next + count)
            self._runner.prefill(self._slot, self._inputs(chunk), chunk, self._first)
            if chunk.stop == self._prompt.steps:
                self._prompt.keep()
        elif self.left:
            count = 1
            self._runner.step([self._slot], self._history.user[self._next - self._history.first][None], self._forced())
            # Where this worker's numerics draw another token than the last one's, what was heard counts.
            after = range(self._next + 1, self._next + 2)
            self._runner.place(self._slot, after.start, after, self._tokens[:, [after.start - self._first]])
        self._next += count
        return count

    def _forced(self) -> npt.NDArray[np.int32] | None:
        """What the next step was forced to, [1, FORCED_TEXT + dep_q]."""
        forced = self._history.forced
        if forced is None:
            return None
        row = self._next - (self._history.steps - len(forced))
        return forced[row : row + 1] if row >= 0 else None

    def _inputs(self, chunk: range) -> npt.NDArray[np.int32] | Tensor:
        """What the streams hold at those steps, or its embedding where only that is known."""
        if chunk.start < self._embedded:
            assert self._prompt.embedded is not None
            return self._prompt.embedded[chunk.start : chunk.stop]
        return self._tokens[:, chunk.start - self._first : chunk.stop - self._first]


def held_tokens(config: LMConfig, history: HistoryTokens, first: int) -> Tokens:
    """What each stream holds at the steps from `first` on, [streams, T + 1]; `UNGENERATED` where delays still hide it.

    A step's reply holds the frame that was complete `max_delay` steps before; the user's frame is the step's own.
    """
    steps, generated = range(first, history.steps + 1), 1 + config.dep_q
    delays, initial = config.delays, config.initial_tokens
    replies = torch.from_numpy(np.concatenate((history.text[:, None], history.codes), 1).T.astype(np.int64))
    silence = np.full((config.silent_codebooks, len(history)), ZERO)
    heard = torch.from_numpy(np.concatenate((history.user.T, silence)).astype(np.int64))
    model = delayed(replies, delays[:generated], initial[:generated], steps, history.first - config.max_delay)
    user = delayed(heard, delays[generated:], initial[generated:], steps, history.first - 1)
    held: Tokens = torch.cat((model, user)).numpy().astype(np.int32)
    return held
