"""The one line where sound crosses from PortAudio's threads to the event loop.

To wake the loop costs more than what is to be done there: with a small codec a third of the whole program, were it done
for each callback. So what a speaker has to say crosses with what a microphone brings, if there is one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary, ref

from antiphon_edge.audio.devices import Direction

CONTINUE, ABORT = 0, 2  # PortAudio's paContinue, paAbort
TOGETHER = 8  # callbacks of a speaker at most, where the microphone brings nothing

HandOver = Callable[..., int]
"""Called in PortAudio's thread: has the event loop call a function, and returns PortAudio's next move."""

_crossings: WeakKeyDictionary[asyncio.AbstractEventLoop, Crossing] = WeakKeyDictionary()


class Crossing:
    """The way to one loop, for all devices that are open in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._waiting: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()  # until the loop has time
        self.microphones = 0
        """That are open."""

    @classmethod
    def to_running_loop(cls) -> Crossing:
        """The way to the loop that runs."""
        loop = asyncio.get_running_loop()
        return _crossings.setdefault(loop, cls(loop))

    def hand_over(self, direction: Direction, receive: Callable[..., None], *arguments: object) -> int:
        """Has the loop call `receive`, in order: at once, or for a speaker with the next of a microphone."""
        self._waiting.append((receive, arguments))
        if direction == "output" and self.microphones and len(self._waiting) < TOGETHER:
            return CONTINUE
        loop = self._loop()
        if loop is None:
            return ABORT
        try:
            loop.call_soon_threadsafe(self._arrive, loop)
        except RuntimeError:  # it was closed, and nobody closed the device
            return ABORT
        return CONTINUE

    def _arrive(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            receive, arguments = self._waiting.popleft()
            loop.call_soon(receive, *arguments)  # so that the error of one is not that of the others
