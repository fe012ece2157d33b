"""A sound file in a request's body, transcribed whole."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import StreamReader

from antiphon_edge.audio.wav import WavReader
from antiphon_edge.errors import AudioFileError
from antiphon_edge.talk.sources import in_thread
from antiphon_edge.transcript.words import Words
from antiphon_gateway.calls.call import Call
from antiphon_gateway.calls.events import Ended, Frame
from antiphon_gateway.calls.fleet import Fleet
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.moshi_server.listening import as_json

FILE_BYTES = 64 << 20  # an hour of mp3, ten minutes of a CD's sound
BODY = "the body"


@asynccontextmanager
async def received(body: StreamReader) -> AsyncIterator[Path]:
    """The body as a file, until the block ends.

    Raises:
        MessageError: it is longer than is taken.
    """
    with tempfile.NamedTemporaryFile(prefix="antiphon-") as file:
        taken = 0
        async for chunk in body.iter_chunked(1 << 16):
            if (taken := taken + len(chunk)) > FILE_BYTES:
                raise MessageError(f"a file of more than {FILE_BYTES >> 20} MiB: send it in parts")
            await asyncio.to_thread(file.write, chunk)
        file.flush()
        yield Path(file.name)


async def transcribe_file(call: Call, path: Path, fleet: Fleet) -> list[dict[str, Any]]:
    """The words of a file, as moshi-server has them.

    Args:
        call: a session that listens, for this alone.
        path: of the file, which may have any format that libsndfile reads.
        fleet: whose the session is.

    Raises:
        MessageError: it is no sound.
        AntiphonError: whatever ended the call.
    """
    saying = asyncio.create_task(_say(call, path, fleet))
    try:
        return await _words(call, fleet, saying)
    except AudioFileError as error:
        raise MessageError(str(error).replace(str(path), BODY)) from None
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


async def _say(call: Call, path: Path, fleet: Fleet) -> None:
    spec = fleet.spec
    with WavReader(path, spec.sample_rate_hz, spec.frame_samples, warn=lambda sentence: None) as frames:
        async for frame in in_thread(frames):
            await call.send_pcm(frame)
    call.end()


async def _words(call: Call, fleet: Fleet, saying: asyncio.Task[None]) -> list[dict[str, Any]]:
    """The words that are heard until the call has ended; `saying` that fails ends it, too."""
    saying.add_done_callback(lambda done: None if done.cancelled() or done.exception() is None else call.end())
    heard = Words(fleet.model, fleet.spec.frame_s)
    words: list[dict[str, Any]] = []
    async for event in call.events():
        match event:
            case Frame(reply, _):
                words += [as_json(word) for word in heard.add(reply)]
            case Ended(error) if error is not None:
                raise error
    await saying
    return words + [as_json(word) for word in heard.end()]
