"""Who was not let in, and why: counted each time, and said in the log a bounded number of times."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from antiphon.logs import event
from antiphon_cloud.metrics import Metrics

logger = logging.getLogger(__name__)

SAID = 20  # refusals that are said
WITHIN_S = 60.0  # of so long: a flood fills no disk


class Refusals:
    """Refused calls of a worker.

    Args:
        metrics: counts them.
        clock: seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._clock = metrics, clock
        self._since_s = clock()
        self._count = 0  # since then

    def add(self, reason: str, client: str) -> None:
        """One more.

        Args:
            reason: one of the metric's.
            client: who was refused, as `Client.name`.
        """
        self._metrics.refused(reason)
        now_s = self._clock()
        if now_s - self._since_s >= WITHIN_S:
            if (unsaid := self._count - SAID) > 0:
                event(logger, logging.WARNING, "more calls were refused than are said", count=unsaid)
            self._since_s, self._count = now_s, 0
        self._count += 1
        if self._count <= SAID:
            event(logger, logging.WARNING, "call refused", reason=reason, client=client)
