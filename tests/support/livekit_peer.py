"""LiveKit's plugin as itself: `livekit_peer.py ADDRESS SCENE SAID SOUND`, run by the Python of `.venv/livekit`.

Writes what the plugin tells of the conversation to standard output, one JSON object a line, and what it hears to the
file SOUND, PCM at 24 kHz. SAID is a file of the same, or of text, by the scene.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from livekit import rtc
from livekit.agents import llm
from livekit.plugins.openai.realtime import RealtimeModel

RATE_HZ = 24_000
CHUNK = RATE_HZ // 50  # samples of a frame, as a room's track brings them
HEARD = "heard"


class Peer:
    """One session of the plugin's, and what it hears.

    Args:
        address: HOST:PORT of the gateway.
        sound: where the model's sound goes.
    """

    def __init__(self, address: str, sound: BinaryIO) -> None:
        self._model = RealtimeModel(base_url=f"http://{address}/v1", api_key="none", model="number-clerk")
        self.session = self._model.session()
        self._sound = sound
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._hearing: set[asyncio.Task[None]] = set()
        self._received = 0  # samples
        self.session.on("generation_created", self._on_generation)
        self.session.on("openai_server_event_received", self._on_event)
        for name in ("input_speech_started", "input_speech_stopped", "session_reconnected"):
            self.session.on(name, lambda event, name=name: self.tell(name))
        self.session.on("metrics_collected", self._on_metrics)
        self.session.on("error", lambda error: self.tell("error", message=str(getattr(error.error, "body", error))))

    async def close(self) -> None:
        """Ends the session."""
        await self.session.aclose()
        await self._model.aclose()

    async def say(self, said: bytes) -> None:
        """Pushes PCM as a room's track does, and as fast as the gateway takes it."""
        for at in range(0, len(said), 2 * CHUNK):
            samples = said[at : at + 2 * CHUNK]
            self.session.push_audio(rtc.AudioFrame(samples, RATE_HZ, 1, len(samples) // 2))
            await asyncio.sleep(0)

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The last of so many events of a kind."""
        while True:
            told = await self._told.get()
            count -= told["kind"] == kind
            if not count:
                return told

    def tell(self, kind: str, **what: Any) -> None:
        """Writes an event."""
        told = {"kind": kind} | what
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        self._told.put_nowait(told)

    def _on_event(self, event: dict[str, Any]) -> None:
        """Tells where in the sound a word came, which the plugin's two streams do not."""
        if event["type"] == "response.output_audio.delta":
            self._received += len(base64.b64decode(event["delta"])) // 2
        elif event["type"] == "response.output_audio_transcript.delta":
            self.tell("word", text=event["delta"], samples=self._received)

    def _on_metrics(self, metrics: Any) -> None:
        if metrics.request_id:  # of a response, and not of the connection
            self.tell("done", cancelled=metrics.cancelled)

    def _on_generation(self, event: llm.GenerationCreatedEvent) -> None:
        hearing = asyncio.ensure_future(self._hear(event))
        self._hearing.add(hearing)
        hearing.add_done_callback(self._hearing.discard)

    async def _hear(self, event: llm.GenerationCreatedEvent) -> None:
        async for message in event.message_stream:
            self.tell("begun", asked_for=event.user_initiated)
            text, samples = await asyncio.gather(self._read(message), self._listen(message))
            self.tell(HEARD, text=text, samples=samples)

    async def _read(self, message: llm.MessageGeneration) -> str:
        return "".join([str(piece) async for piece in message.text_stream])

    async def _listen(self, message: llm.MessageGeneration) -> int:
        samples = 0
        async for frame in message.audio_stream:
            self._sound.write(frame.data.tobytes())
            samples += frame.samples_per_channel
        return samples


async def converse(peer: Peer, said: bytes) -> None:
    """The person's digits, and the model's answer after its greeting."""
    await peer.session.update_instructions("Be kind.")
    await peer.say(said)
    await peer.until(HEARD, 2)


async def write(peer: Peer, said: bytes) -> None:
    """Text into the conversation, and the reply that is asked for."""
    written = llm.ChatContext.empty()
    written.add_message(role="user", content=said.decode())
    await peer.session.update_chat_ctx(written)
    await peer.session.generate_reply()
    await peer.until(HEARD)


async def interrupt(peer: Peer, said: bytes) -> None:
    """The person cuts a reply off, and speaks; what was cut off is forgotten by the plugin."""
    await peer.session.generate_reply()
    peer.session.interrupt()
    await peer.until("done")
    await peer.say(said)
    await peer.until("input_speech_started")
    await peer.until(HEARD)
    await peer.session.update_chat_ctx(llm.ChatContext.empty())


async def reconnect(peer: Peer, said: bytes) -> None:
    """The connection is lost after the answer: the plugin writes down again what was said, and the person goes on."""
    await peer.say(said)
    await peer.until("done", 2)
    peer.tell("answered")
    await peer.until("session_reconnected")
    await peer.say(said)
    await peer.until("done", 2)


SCENES = {scene.__name__: scene for scene in (converse, write, interrupt, reconnect)}


async def main(address: str, scene: str, said: bytes, sound: BinaryIO) -> None:
    """One scene, and what the plugin has of the conversation in the end."""
    peer = Peer(address, sound)
    try:
        await SCENES[scene](peer, said)
        items = [item for item in peer.session.chat_ctx.items if isinstance(item, llm.ChatMessage)]
        peer.tell("end", items=[[item.role, (item.text_content or "").strip()] for item in items])
    finally:
        await peer.close()


if __name__ == "__main__":
    _, gateway, wanted, said_path, sound_path = sys.argv
    with Path(sound_path).open("wb") as sound_file:
        asyncio.run(main(gateway, wanted, Path(said_path).read_bytes(), sound_file))
