"""Text from standard input, as it comes."""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import sys
import threading
from collections.abc import AsyncIterator

READ_BYTES = 4096
READ_AHEAD = 4  # parts of a pipe: the rest waits in it


async def standard_input() -> AsyncIterator[str]:
    """The text of standard input in whatever parts it comes, read by a thread of its own; what is no UTF-8 becomes
    U+FFFD, and each end of line "\\n". The thread outlives this where nothing more comes: it ends with the program."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()  # bounded by `room`
    room = threading.Semaphore(READ_AHEAD)
    descriptor = sys.stdin.fileno()

    def read() -> None:
        data = b"begun"
        while data:
            room.acquire()
            data = os.read(descriptor, READ_BYTES)
            try:
                loop.call_soon_threadsafe(queue.put_nowait, data)
            except RuntimeError:  # the loop was closed
                return

    threading.Thread(target=read, name="antiphon-text", daemon=True).start()
    # An end of line in two characters may come in two parts, and is one.
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    while data := await queue.get():
        room.release()
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


async def turns(parts: AsyncIterator[str], speakers: int) -> AsyncIterator[tuple[str, int]]:
    """The parts with the speaker of each; of several, the next one has the next line."""
    speaker = 0
    async for part in parts:
        if speakers < 2:
            yield part, 0
            continue
        for line in part.splitlines(keepends=True):
            yield line, speaker
            if line.endswith("\n"):
                speaker = (speaker + 1) % speakers
