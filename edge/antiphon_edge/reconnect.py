"""When and where to try again after a stream is lost: at once, then ever later, until the patience is over.

What is tried again is a type of error, as `antiphon.errors` draws them: a worker that is gone, starting, draining or
full. Whatever the worker says about the session itself (a codec that differs, a key that it does not know, a frame that
breaks the contract) would be said again, and is final.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from antiphon.errors import AntiphonError, NoFreeSlotError, SessionTimeoutError, UnavailableError

T = TypeVar("T")

PASSING = (UnavailableError, NoFreeSlotError, SessionTimeoutError)
"""Errors that another attempt may not meet."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a session looks for a worker that goes on with it.

    Every address is tried at once; then they are tried in turn, each time after twice as long, give or take half of it,
    so that the edges of a worker that died do not come all at once. A worker that is full says when to come back.
    """

    first_s: float = 0.1  # the first wait
    longest_s: float = 5.0
    patience_s: float = 300.0  # after that the session ends with the last error; 0 never reconnects
    stall_s: float = 3.0  # frames unanswered for so long are taken for a lost stream, and a second one is opened
    connect_timeout_s: float = 3.0

    async def until_it_works(
        self,
        attempt: Callable[[str], Awaitable[T]],
        addresses: Sequence[str],
        waiting: Callable[[AntiphonError, float], None],
    ) -> T:
        """The result of the first attempt that does not fail in passing.

        Args:
            attempt: takes an address.
            addresses: in the order in which they are tried.
            waiting: is told of each failure, and of the seconds until the next attempt.

        Raises:
            AntiphonError: a final one, or the last one when the patience was over.
        """
        started = 0

        async def next_attempt() -> T:
            nonlocal started
            started += 1
            return await attempt(addresses[(started - 1) % len(addresses)])

        def tell(state: tenacity.RetryCallState) -> None:
            waiting(_error(state), state.upcoming_sleep)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(PASSING),
            wait=lambda state: self.delay_s(state.attempt_number - len(addresses), _error(state)),
            stop=tenacity.stop_after_delay(self.patience_s),
            before_sleep=tell,
            reraise=True,
        )
        return await retrying(next_attempt)

    def delay_s(self, round_: int, error: AntiphonError) -> float:
        """Seconds to wait after a failure; rounds count from 0 once every address was tried."""
        if round_ < 0:
            return 0.0
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        delay_s = min(self.first_s * 2.0 ** min(round_, 30), self.longest_s) * jitter
        return max(delay_s, error.retry_after_s * jitter) if isinstance(error, NoFreeSlotError) else delay_s


NEVER = Reconnect(patience_s=0.0)


def _error(state: tenacity.RetryCallState) -> AntiphonError:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, AntiphonError), "nothing else is tried again"
    return error
