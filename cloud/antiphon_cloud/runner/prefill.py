"""A session rebuilt from its tokens: keys and values by teacher-forced prefill, chunk by chunk, and the steps that the
delays still hide once more.

Of a step whose tokens are all known only its keys and values matter, and those of many steps come out of one forward of
the temporal transformer. The last `max_delay` steps are not all known: some of the text and codes that they generated
have not left the worker yet. They are taken again, with the depformer; the same random numbers give the same tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from antiphon.history import PastTokens, Tokens
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.state import UNGENERATED

if TYPE_CHECKING:
    from antiphon_cloud.runner.runner import ModelRunner


def history_steps(config: LMConfig) -> int:
    """Steps of history from which a session comes out the same as if it had never been rebuilt.

    What a step knows of the past is in the ring, which holds `context` steps. But each layer's entries were made by
    attending to the layer below it, `context` steps further back: the model's reach is longer than its ring.
    """
    reach = config.num_layers * (config.context - 1)
    return reach + config.max_delay + max(config.max_delay, 1)


class Rebuild:
    """Brings a slot to where its session stood, a few steps at a time.

    Args:
        runner: of the slot, which has been reset with the session's seed and sampling.
        slot: row of the batch.
        past: the session's tokens.
    """

    def __init__(self, runner: ModelRunner, slot: int, past: PastTokens) -> None:
        config = runner.model.config
        self._runner, self._slot, self._past = runner, slot, past
        # The first steps of a history that does not reach back to the start lack the streams that are delayed.
        self._first = past.first + max(config.max_delay, 1) if past.first else 0
        self._hidden = max(past.steps - config.max_delay, self._first)  # the first step that is taken again
        self._next = self._first  # the first step that is not done yet
        self._tokens = delayed_tokens(config, past, self._first)  # [streams, T + 1]
        around = range(max(self._hidden - 1, self._first), past.steps + 1)
        runner.place(slot, self._hidden, around, self._tokens[:, around.start - self._first :])

    @property
    def left(self) -> int:
        """Steps still to do; none: the session can go on."""
        return self._past.steps - self._next

    def advance(self, steps: int) -> int:
        """Does up to `steps` steps, but takes no more than one again; returns how many."""
        count = min(steps, self._hidden - self._next, self._runner.model.config.context)
        if count > 0:
            chunk = range(self._next, self._next + count)
            inputs = self._tokens[:, chunk.start - self._first : chunk.stop - self._first]
            self._runner.prefill(self._slot, inputs, chunk, self._first)
        elif self.left:
            count = 1
            self._runner.step([self._slot], self._past.user[self._next - self._past.first][None])
            # Where this worker's numerics draw another token than the last one's, what was heard counts.
            after = range(self._next + 1, self._next + 2)
            self._runner.place(self._slot, after.start, after, self._tokens[:, [after.start - self._first]])
        self._next += count
        return count


def delayed_tokens(config: LMConfig, past: PastTokens, first: int) -> Tokens:
    """What each stream holds at the steps from `first` on, [streams, T + 1]: the tokens moved by their delays, initial
    tokens before them, and `UNGENERATED` where the delays still hide them."""
    steps = np.arange(first, past.steps + 1)
    tokens = np.full((config.streams, len(steps)), UNGENERATED, np.int32)
    generated = np.concatenate((past.text[:, None], past.codes), 1)  # [T, 1 + dep_q]
    for stream, delay in enumerate(config.delays):
        model = stream <= config.dep_q
        column = generated[:, stream] if model else past.user[:, stream - 1 - config.dep_q]
        # A step's reply holds the frame that was complete max_delay steps before; the user's frame is the step's own.
        rows = steps - delay - past.first + (config.max_delay - 1 if model else 0)
        known = (steps > delay) & (rows >= 0) & (rows < len(past))
        tokens[stream, known] = column[rows[known]]
        tokens[stream, steps <= delay] = config.card if stream else config.text_card
    return tokens
