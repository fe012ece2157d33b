"""The processor time of each hop of a frame, alone in this process, where other load disturbs it least."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from antiphon.codes import Codes
from antiphon_edge import Codec, connect
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.codec.codec import Decoder, Encoder
from antiphon_gateway.batch.half import BatchCodec, BatchHalf
from antiphon_gateway.wire.opus import OpusReader, OpusWriter
from antiphon_gateway.wire.pcm16 import from_base64, pcm_from_bytes, pcm_to_bytes, to_base64
from tools.bench.gateway.clients import FRAME, PACKETS, RATE_HZ, chat_messages, noise, realtime_messages

STREAMS = 8  # that are stepped in a row, as a busy gateway does
ROUNDS = 3
WARM_UP = 10


def microseconds(work: Callable[[Any], Any], frames: Sequence[Any]) -> float:
    """The processor time of `work` on each, at its tenth percentile."""
    times = []
    for frame in frames:
        begun_s = time.process_time()
        work(frame)
        times.append(time.process_time() - begun_s)
    return 1e6 * float(np.quantile(times[WARM_UP:], 0.1))


def of_opus(frames: int) -> dict[str, float]:
    """Of `/api/chat`."""
    reader, writer, messages = OpusReader(RATE_HZ), OpusWriter(RATE_HZ), chat_messages(frames)
    reader.feed(messages[0][1:])
    pages = [[page[1:] for page in messages[at : at + PACKETS]] for at in range(1, len(messages), PACKETS)]
    return {
        "Ogg, Opus decode, resample": microseconds(lambda frame: list(map(reader.feed, frame)), pages),
        "Opus encode, Ogg": microseconds(writer.write, list(noise(frames).reshape(frames, FRAME))),
    }


def of_json(frames: int) -> dict[str, float]:
    """Of `/v1/realtime`."""
    messages = realtime_messages(frames)
    events = [messages[at : at + PACKETS] for at in range(0, len(messages), PACKETS)]

    def read(frame: Sequence[str]) -> list[Pcm]:
        return [pcm_from_bytes(from_base64(msgspec.json.decode(message)["audio"])) for message in frame]

    def write(pcm: Pcm) -> bytes:
        return msgspec.json.encode({"delta": to_base64(pcm_to_bytes(pcm))})

    return {
        "JSON, base64, PCM in": microseconds(read, events),
        "PCM, base64, JSON out": microseconds(write, list(noise(frames).reshape(frames, FRAME))),
    }


def of_codec(codec: Codec, folder: Path, frames: int) -> tuple[dict[str, float], list[Codes]]:
    """Of both doors, and the codes of the frames."""
    encoders, decoders = [codec.encoder() for _ in range(STREAMS)], [codec.decoder() for _ in range(STREAMS)]
    pcm = noise(frames).reshape(frames, FRAME)
    codes: list[Codes] = []

    def encode(frame: Pcm) -> None:
        made = [encoder.step(frame) for encoder in encoders]
        codes.append(made[0])

    def decode(frame: Codes) -> None:
        for decoder in decoders:
            decoder.step(frame)

    costs = {
        "codec encode": microseconds(encode, list(pcm)) / STREAMS,
        "codec decode": microseconds(decode, codes) / STREAMS,
    }
    batch = BatchCodec.load(folder, codec.manifest)
    if batch.encoder is not None and batch.decoder is not None:  # a large codec's, as a busy gateway steps it
        costs = {
            f"codec encode, {batch.encoder.streams} at once": of_batch(batch.encoder, encoders, list(pcm)),
            f"codec decode, {batch.decoder.streams} at once": of_batch(batch.decoder, decoders, codes),
        }
    return costs, codes


def of_batch(batch: BatchHalf, coders: Sequence[Encoder] | Sequence[Decoder], frames: Sequence[Any]) -> float:
    """A stream's share of a batch."""

    def step(frame: Any) -> None:
        for coder in coders[: batch.streams]:
            coder.put(frame)
        batch.advance([coder.stream for coder in coders[: batch.streams]])

    return microseconds(step, frames) / batch.streams


def of_the_worker(address: str, codec: Codec, codes: Sequence[Codes]) -> dict[str, float]:
    """The SDK's session and gRPC, there and back, of `STREAMS` sessions."""

    async def talk() -> float:
        async def one() -> None:
            async with connect(address, codec.spec, seed=1) as session:
                for frame in codes:
                    await session.send(frame)
                    await session.receive()

        begun_s = time.process_time()
        await asyncio.gather(*(one() for _ in range(STREAMS)))
        return time.process_time() - begun_s

    least_s = min(asyncio.run(talk()) for _ in range(ROUNDS))
    return {"gRPC and session, both ways": 1e6 * least_s / len(codes) / STREAMS}
