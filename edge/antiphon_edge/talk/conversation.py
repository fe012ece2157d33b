"""A conversation: audio → codec → session → codec → audio, for wav files and for live voice alike.

`talk` is the whole path of a frame at the edge; its arguments say where the audio comes from and goes to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Reply
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.hearing import Hearing
from antiphon_edge.talk.late_replies import LateReplyFilter
from antiphon_edge.talk.latency import LatencyBreakdown


@dataclass(slots=True)
class Conversation:
    """What `talk` has done so far."""

    frames_up: int = 0
    frames_down: int = 0
    text_tokens: int = 0
    skipped_replies: int = 0
    """That came too late to be heard."""
    latency: LatencyBreakdown = field(default_factory=LatencyBreakdown)


async def talk(
    session: Session,
    codec: Codec,
    microphone: AsyncIterator[Pcm],
    speaker: Callable[[Pcm], None],
    on_reply: Callable[[Reply], None] = lambda reply: None,
    *,
    live: bool = False,
    conversation: Conversation | None = None,
) -> Conversation:
    """Sends every frame of `microphone` and hands every reply's audio to `speaker`, until the microphone ends.

    Encoding and decoding each have a thread, so that neither holds up the network or the other. The model hears the
    frames as `Hearing` gives them to it: one that only listens gets silence before and after them, as fast as it goes.

    Args:
        session: an open session.
        codec: the codec that the session was opened with.
        microphone: frames [frame_samples], float32 in [-1, 1].
        speaker: takes decoded frames [frame_samples] and returns at once.
        on_reply: called with every reply before it is decoded.
        live: a person listens: after an outage the last 2 s that were said are sent, and replies that come later than
            `MAX_LAG_S` are skipped, so that the conversation never stays behind. Files lose nothing.
        conversation: what is filled in and returned, for whoever looks while it goes on; a new one where absent.

    Raises:
        PreconditionError: the codec makes fewer codebooks than the model hears.
        AntiphonError: whatever ended the session.
    """
    hearing = Hearing(codec, session.model)
    conversation = Conversation() if conversation is None else conversation
    with ThreadPoolExecutor(1, "encode") as encoding, ThreadPoolExecutor(1, "decode") as decoding:
        up = asyncio.create_task(_up(session, hearing, microphone, encoding, conversation, live))
        down = asyncio.create_task(_down(session, codec, speaker, decoding, conversation, on_reply, live))
        try:
            # Down ends last when all is well; up ends first when the microphone or the codec fails.
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (down, up):  # the worker's own reason first: a failed send only follows from it
                if task.done():
                    task.result()
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
    conversation.latency.add_timings(session.totals)
    return conversation


async def _up(
    session: Session,
    hearing: Hearing,
    microphone: AsyncIterator[Pcm],
    thread: ThreadPoolExecutor,
    conversation: Conversation,
    live: bool,
) -> None:
    loop = asyncio.get_running_loop()

    async def send(frames: Iterable[Pcm], live: bool) -> None:
        for pcm in frames:
            start = time.perf_counter()
            codes = await loop.run_in_executor(thread, hearing.step, pcm)  # [user_codebooks]
            conversation.latency.encode_ms.append((time.perf_counter() - start) * 1e3)
            if live:
                session.send_live(codes)
            else:
                await session.send(codes)
            conversation.frames_up += 1

    await send(hearing.lead_in(), live)
    async for pcm in microphone:
        await send(hearing.frames(pcm), live)
    await send(hearing.lead_out(), live=False)  # faster than speech: it waits for room, and nothing of it is dropped
    await session.end()


async def _down(
    session: Session,
    codec: Codec,
    speaker: Callable[[Pcm], None],
    thread: ThreadPoolExecutor,
    conversation: Conversation,
    on_reply: Callable[[Reply], None],
    live: bool,
) -> None:
    loop = asyncio.get_running_loop()
    decoder = codec.decoder() if session.model.model_codebooks else None
    late_replies = LateReplyFilter()
    async for reply in session:
        conversation.latency.round_trip_ms.append(reply.round_trip_s * 1e3)
        conversation.text_tokens += bool(reply.text)
        on_reply(reply)
        if reply.codes is None or decoder is None:
            continue
        if late_replies.is_late(reply.round_trip_s) and live:
            conversation.skipped_replies += 1
            continue
        start = time.perf_counter()
        pcm = await loop.run_in_executor(thread, decoder.step, reply.codes[: codec.spec.codebooks])
        conversation.latency.decode_ms.append((time.perf_counter() - start) * 1e3)
        conversation.frames_down += 1
        speaker(pcm)
