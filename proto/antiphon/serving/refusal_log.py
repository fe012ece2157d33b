"""Who was not let in, said in the log a bounded number of times: a flood fills no disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from antiphon.logs import event

logger = logging.getLogger(__name__)

SAID = 20  # refusals that are said
WITHIN_S = 60.0  # of so long


class RefusalLog:
    """Says refused calls.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since_s = clock()
        self._count = 0  # since then

    def add(self, **fields: str) -> None:
        """One more; the fields say who was refused, and why."""
        now_s = self._clock()
        if now_s - self._since_s >= WITHIN_S:
            if (unsaid := self._count - SAID) > 0:
                event(logger, logging.WARNING, "more calls were refused than are said", count=unsaid)
            self._since_s, self._count = now_s, 0
        self._count += 1
        if self._count <= SAID:
            event(logger, logging.WARNING, "call refused", **fields)
