"""What the person says, written down by a second worker whose model only listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.transcript.words import Words
from antiphon_gateway.calls.call import Call
from antiphon_gateway.calls.events import Frame
from antiphon_gateway.doors.realtime.person import Person
from antiphon_gateway.doors.realtime.responses import Event

QUEUED = 25  # blocks that wait for the second worker; full: the oldest is left out, the conversation goes on


class Transcriber:
    """Hears the person beside the model that answers, and tells the words of each item as they are known.

    Args:
        call: on a worker whose model only listens.
        frame_s: seconds of a frame.
        person: knows the item that a time in the sound belongs to.
        tell: sends events to the client.
    """

    def __init__(
        self, call: Call, frame_s: float, person: Person, tell: Callable[[Iterable[Event]], Awaitable[None]]
    ) -> None:
        self._call, self._person, self._tell = call, person, tell
        self._words = Words(call.session.model, frame_s)
        self._blocks: asyncio.Queue[Pcm] = asyncio.Queue(QUEUED)

    def hear(self, pcm: Pcm) -> None:
        """The person says samples [N]."""
        if self._blocks.full():
            self._blocks.get_nowait()
        self._blocks.put_nowait(pcm)

    async def run(self) -> None:
        """Until it is cancelled, or its worker is lost: the conversation goes on without a transcript."""
        feeding = asyncio.create_task(self._feed())
        try:
            async for event in self._call.events():
                if isinstance(event, Frame):
                    for word in self._words.add(event.reply):
                        if word.end_s is None:  # it comes again once its end is known
                            await self._tell(self._person.heard(word.text, word.start_s))
                    await self._tell(self._person.transcribed(self._words.now_s))
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _feed(self) -> None:
        while True:
            await self._call.send_pcm(await self._blocks.get())
