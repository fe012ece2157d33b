"""Which pages of the stepper's memory sessions may have: the event loop's account, by which sessions are admitted.

A session has the pages that it is promised from its first step on, or those that its history needs where these are
more. As it grows beyond them it takes one after the other of those that nobody has. Where there is none its ring is
closed: it goes on with the pages that it has, and from then on looks back to no more than these hold. It is never
asked to give a page back, so that what a session was promised it keeps.
"""

from __future__ import annotations

import logging

from antiphon_cloud.metrics import Metrics
from antiphon_cloud.runner.page_pool import PagePool, PoolShape
from antiphon_cloud.timing import FRAME_S

logger = logging.getLogger(__name__)


class Memory:
    """The account. What it allows a session is said to the stepper before the frame that needs it.

    Args:
        shape: of the stepper's memory.
        slots: of the stepper.
        metrics: count the sessions whose window is shorter than they could use.
    """

    def __init__(self, shape: PoolShape, slots: int, metrics: Metrics) -> None:
        self._shape = shape
        self._pool = PagePool(shape.pages, slots)
        self._closed: set[int] = set()  # rows whose ring stays as it is, as there was no memory for more
        self._metrics = metrics

    @property
    def free_steps(self) -> int:
        """Steps of memory that no session has, nor was promised."""
        return self._pool.free * self._shape.page

    def held_steps(self, row: int) -> int:
        """Steps of memory that come free when the row's session ends."""
        return self._pool.count(row) * self._shape.page

    def needed_steps(self, history_steps: int) -> int:
        """Steps of memory that a session needs to be admitted.

        Args:
            history_steps: that it has taken before, its prompt's included.
        """
        return self._needed(history_steps) * self._shape.page

    def begin(self, row: int, history_steps: int) -> int:
        """Gives a row to a session for which there is memory; returns the pages that it may have."""
        return len(self._pool.allow(row, self._needed(history_steps)))

    def grow(self, row: int, step: int) -> int | None:
        """The pages that a row may have from this step on, where they become more now.

        Args:
            row: whose session is stepped next at this step.
            step: the number of steps that it has taken.
        """
        shape, pages = self._shape, self._pool.count(row)
        if step < pages * shape.page or pages == shape.full or row in self._closed:
            return None
        if self._pool.free:
            return len(self._pool.allow(row, pages + 1))
        self._closed.add(row)
        self._metrics.closed()
        logger.info(
            "slot %d: no memory is free beyond its session's promise: from now on it looks back %.0f s, not %.0f",
            row, shape.window(pages) * FRAME_S, shape.context * FRAME_S,
        )  # fmt: skip
        return None

    def end(self, row: int) -> None:
        """Takes the row's pages back."""
        self._pool.allow(row, 0)
        self._closed.discard(row)

    def _needed(self, history_steps: int) -> int:
        return max(self._shape.promised, self._shape.needed(history_steps))
