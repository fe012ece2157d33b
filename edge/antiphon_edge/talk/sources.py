"""What `talk` can take for a microphone: files at the pace of speech, and pipes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from itertools import repeat

import numpy as np

from antiphon_edge.audio.pcm import Pcm

READ_AHEAD = 4  # frames of a pipe: the rest waits in it


async def paced(frames: Iterable[Pcm] | AsyncIterator[Pcm], frame_s: float, ahead_s: float = 0.0) -> AsyncIterator[Pcm]:
    """A file as a microphone: each frame [frame_samples] at the moment when a listener would have heard it whole, or up
    to `ahead_s` before it.

    A `frame_s` of 0 does not wait.
    """
    loop = asyncio.get_running_loop()
    start = loop.time() - ahead_s
    count = 0
    async for frame in _each(frames):
        count += 1
        if frame_s:
            await asyncio.sleep(start + count * frame_s - loop.time())
        yield frame


async def _each(frames: Iterable[Pcm] | AsyncIterator[Pcm]) -> AsyncIterator[Pcm]:
    if isinstance(frames, AsyncIterator):
        async for frame in frames:
            yield frame
    else:
        for frame in frames:
            yield frame


async def in_thread(frames: Iterable[Pcm]) -> AsyncGenerator[Pcm]:
    """The same frames of a source that waits, such as a pipe, read by a thread of its own, `READ_AHEAD` ahead at most.

    The thread outlives this where its source brings nothing: it ends with the source, or with the program.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Pcm | Exception | None] = asyncio.Queue()  # bounded by `room`
    room = threading.Semaphore(READ_AHEAD)
    ended = False

    def hand_over(item: Pcm | Exception | None) -> None:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, item)
        except RuntimeError:  # the loop was closed
            return

    def read() -> None:
        try:
            for frame in frames:
                room.acquire()
                if ended:
                    return
                hand_over(frame)
        except Exception as error:  # noqa: BLE001 -- whoever reads the frames hears of it
            hand_over(error)
        else:
            hand_over(None)

    threading.Thread(target=read, name="antiphon-pipe", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
            room.release()
    finally:
        ended = True
        room.release()


def with_silence(frames: Iterable[Pcm], frame_samples: int, delay_steps: int) -> Iterator[Pcm]:
    """The frames [frame_samples], and as much silence after them as lets the model's delays run out: the reply is then
    as long as what was said."""
    yield from frames
    yield from repeat(np.zeros(frame_samples, np.float32), delay_steps)
