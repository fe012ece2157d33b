"""When to try again after a stream is lost: at once, then ever later, until the patience is over.

What is tried again is a type of error, as `antiphon.errors` draws them: a worker that is gone, starting, draining or
full. Whatever the worker says about the session itself (a codec that differs, a key that it does not know, a frame that
breaks the contract) would be said again, and is final.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from antiphon.errors import AntiphonError, NoFreeSlotError, SessionTimeoutError, UnavailableError

PASSING = (UnavailableError, NoFreeSlotError, SessionTimeoutError)
"""Errors that another attempt may not meet."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a session looks for a worker that goes on with it.

    Every address is tried at once; then they are tried in turn, each time after twice as long, give or take half of it,
    so that the edges of a worker that died do not come all at once. A worker that is full says when to come back. A
    call that opens and ends before it has answered anything new is a failed attempt like any other.
    """

    first_s: float = 0.1  # the first wait
    longest_s: float = 5.0
    bound_s: float = math.inf  # of every wait, jitter and what a full worker asks for included
    patience_s: float = 300.0  # so long without a new reply the session ends with the last error; 0 never reconnects
    stall_s: float = 3.0  # frames unanswered for so long are taken for a lost stream, and a second one is opened
    connect_timeout_s: float = 3.0

    def delay_s(self, round_: int, error: AntiphonError) -> float:
        """Seconds to wait after a failure; rounds count from 0 once every address was tried."""
        if round_ < 0:
            return 0.0
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        delay_s = min(self.first_s * 2.0 ** min(round_, 30), self.longest_s) * jitter
        if isinstance(error, NoFreeSlotError):
            delay_s = max(delay_s, error.retry_after_s * jitter)
        return min(delay_s, self.bound_s)


NEVER = Reconnect(patience_s=0.0, stall_s=30.0)
LIVE = Reconnect(longest_s=2.0, bound_s=2.0)
"""Where a person waits: a worker that is back is found within 2 s."""
