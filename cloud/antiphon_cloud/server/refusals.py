"""Who was not let in, and why: counted each time, and said in the log a bounded number of times."""

from __future__ import annotations

import time
from collections.abc import Callable

from antiphon.serving.refusal_log import RefusalLog
from antiphon_cloud.metrics import Metrics


class Refusals:
    """Refused calls of a worker.

    Args:
        metrics: counts them.
        clock: seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._log = metrics, RefusalLog(clock)

    def add(self, reason: str, client: str) -> None:
        """One more.

        Args:
            reason: one of the metric's.
            client: who was refused, as `Client.name`.
        """
        self._metrics.refused(reason)
        self._log.add(reason=reason, client=client)
