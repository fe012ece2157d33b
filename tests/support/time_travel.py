"""The running loop with a clock that a test moves: a limit of minutes is over at once, and no busy machine overruns it.

async def test_an_idle_session_ends(clock: Clock) -> None:
    ...  # real sockets, threads and processes, with limits that no machine is too slow for
    await clock.outlast(60.0)  # somebody waits for a minute, and the minute is over
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

NET_S = 100.0
"""Real seconds that what should happen may take: who waits longer waits for what never comes."""
LOOK_S = 0.005
STEADY_S = 0.2
ARMED_S = 10.0  # a machine may take so long to arm a timer


async def until(true: Callable[[], object], what: str = "it") -> None:
    """Returns once `true` says so, for which it has `NET_S` however far a test has moved the loop's clock."""
    end_s = time.monotonic() + NET_S
    while not true():
        assert time.monotonic() < end_s, f"{what} has not come in {NET_S:g} s"
        await asyncio.sleep(LOOK_S)


async def until_steady(count: Callable[[], int]) -> None:
    """Returns once a count has stood still for a while: for who is stopped by others' full buffers, which tell nobody.

    What a busy machine has not brought by then may still come, so it may make no difference to the test."""
    before, end_s = -1, 0.0
    while time.monotonic() < end_s or before != count():
        if before != (now := count()):
            before, end_s = now, time.monotonic() + STEADY_S
        await asyncio.sleep(LOOK_S)


class Clock:
    """The clock of the running loop: real seconds, and those that the test has added.

    A timer that is due then fires as the loop next looks, whoever armed it: so every limit in the same loop that is not
    meant is longer than what is added.
    """

    def __init__(self) -> None:
        self._loop = cast("Any", asyncio.get_running_loop())
        self._time: Callable[[], float] = self._loop.time
        self._call_at: Callable[..., asyncio.TimerHandle] = self._loop.call_at
        self._ahead_s = 0.0
        self._timers: list[tuple[float, asyncio.TimerHandle]] = []  # with how far ahead each was armed
        self._loop.time, self._loop.call_at = self.time, self._arm

    def time(self) -> float:
        """What `loop.time` says."""
        return self._time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Moves the clock; what is due by then happens when the test next waits."""
        self._ahead_s += seconds

    def waits(self, limit_s: float) -> int:
        """How many timers of `limit_s`, which no other limit is near, run now."""
        now_s = self.time()
        self._timers = [armed for armed in self._timers if not armed[1].cancelled() and armed[1].when() > now_s]
        return sum(limit_s - ARMED_S < ahead_s <= limit_s for ahead_s, _ in self._timers)

    async def outlast(self, limit_s: float, waits: int = 1) -> None:
        """Has `limit_s` pass as soon as so many wait that long."""
        await until(lambda: self.waits(limit_s) >= waits, f"a wait of {limit_s:g} s")
        self.advance(limit_s)

    def give_back(self) -> None:
        """The loop has its own clock again; timers of the test's may be due late."""
        self._loop.time, self._loop.call_at = self._time, self._call_at

    def _arm(self, when: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        handle = self._call_at(when, *arguments, **options)
        self._timers.append((when - self.time(), handle))
        return handle
