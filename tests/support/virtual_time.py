"""An event loop whose clock jumps to the next timer: minutes of waiting in no time, and a hang is seen as one."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(AssertionError):
    """Somebody waits for what nothing will ever bring: no timer runs, and nothing is ready."""


class _Selector(selectors.SelectSelector):
    def __init__(self, waited: Callable[[float], None]) -> None:
        super().__init__()
        self._waited = waited

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("nothing will ever happen")
        self._waited(timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """No timer takes time; `time` says what a clock would. Nothing in it may wait for a socket or a thread."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        super().__init__(_Selector(self._advance))

    def _advance(self, seconds: float) -> None:
        self._now_s += seconds

    def time(self) -> float:
        """Seconds on the loop's own clock."""
        return self._now_s

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, with this loop as the running one."""
        return self.run_until_complete(work)

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """What is not done yet."""
        return list(asyncio.all_tasks(self))


@contextmanager
def virtual_time() -> Iterator[VirtualTimeLoop]:
    """A loop that is closed at the end, whatever is left in it cancelled."""
    loop = VirtualTimeLoop()
    try:
        yield loop
    finally:
        while left := loop.tasks:  # some begin others as they end
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
