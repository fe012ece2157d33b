"""A session and a codec for tests of what carries a call: no worker, no thread, no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError
from antiphon_edge.client.events import Reply
from tests.support.servers import CODEC
from tools.harness.stub_runner import SPEC


class FakeSession:
    """Answers every frame `round_trip_s` later, unless it is held; remembers when each came and how loud it was."""

    listens, writes, model = True, False, SPEC

    def __init__(self) -> None:
        self.heard: list[tuple[float, float]] = []  # when, and the loudness that the fake codec makes of a frame
        self.round_trip_s = 0.01
        self.held = asyncio.Event()
        self.held.set()
        self._replies: asyncio.Queue[Reply | AntiphonError | None] = asyncio.Queue()

    async def send(self, codes: Codes) -> int:
        """A frame came."""
        await self.held.wait()
        self.heard.append((asyncio.get_running_loop().time(), float(codes[0])))
        number = len(self.heard) - 1
        self._replies.put_nowait(Reply(number, codes, 3, f" {number}", self.round_trip_s))
        return number

    async def end(self) -> None:
        """No more will."""
        self._replies.put_nowait(None)

    def fail(self, error: AntiphonError) -> None:
        """The session has ended."""
        self._replies.put_nowait(error)

    async def __aiter__(self) -> AsyncIterator[Reply]:
        while (reply := await self._replies.get()) is not None:
            if isinstance(reply, AntiphonError):
                raise reply
            yield reply


class FakeCodec:
    """A frame's code is its loudness in hundredths, and its sound is as loud again."""

    spec = CODEC

    def encoder(self, *, restart: bool = False) -> Any:
        """It holds no state."""
        return self

    def decoder(self) -> Any:
        """The other way."""
        return _Decoder()

    def step(self, pcm: Any) -> Codes:
        """The codes of a frame."""
        return np.full(8, round(100 * float(np.abs(pcm).max())), np.int32)


class _Decoder:
    def step(self, codes: Codes) -> Any:
        return np.full(CODEC.frame_samples, codes[0] / 100, np.float32)


class NoThreads:
    """Does the work at once."""

    async def run(self, work: Callable[..., Any], *arguments: object) -> Any:
        """Its result."""
        return work(*arguments)

    async def step(self, step: Any) -> Any:
        """The same of a frame."""
        return step.then(step.coder.step(step.value))
