"""Measures how soon after its last sound a transcript is whole, and how fast a file is transcribed.

    python -m tools.bench.transcription WAV [--model DIR] [--codec DIR] [--runs 10]

A worker on this machine hears WAV at the pace of speech, as a microphone brings it, and as fast as it goes, in turns.
Prints, for the first, percentiles of the milliseconds from the last frame of sound to the transcript's end, in
which the silence that the model needs is encoded, sent, stepped and written; for the second the real-time factor.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import numpy as np

from antiphon_cloud.codec.model_codec import export_model_codec
from antiphon_edge import Codec, WavReader, connect
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Reply
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.sources import paced
from antiphon_edge.transcript.words import Words
from tools import ROOT
from tools.harness.golden import golden
from tools.harness.worker_process import worker


async def transcribe(address: str, codec: Codec, frames: Iterable[Pcm], frame_s: float) -> tuple[float, float, int]:
    """Hears `frames` at a pace; returns the seconds in all, those after the last frame, and the words heard."""
    spec, last_s, count = codec.spec, 0.0, 0

    async def said() -> AsyncIterator[Pcm]:
        nonlocal last_s
        async for frame in paced(frames, frame_s):
            last_s = time.perf_counter()
            yield frame

    async with connect(address, spec) as session:
        words = Words(session.model, spec.frame_s)

        def on_reply(reply: Reply) -> None:
            nonlocal count
            count += sum(word.end_s is None for word in words.add(reply))

        start_s = time.perf_counter()
        await talk(session, codec, said(), lambda pcm: None, on_reply, live=frame_s > 0)
        end_s = time.perf_counter()
        return end_s - start_s, end_s - last_s, count


def main() -> None:
    """Serves the model and transcribes the sound in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wav", type=Path)
    parser.add_argument("--model", type=Path, default=golden() / "stt-tiny")
    parser.add_argument("--codec", type=Path, default=ROOT / "build/bench-listening-codec")
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    if not (arguments.codec / "codec.json").exists():
        export_model_codec(arguments.model, arguments.codec)
    codec = Codec.load(arguments.codec, only="encoder")
    spec = codec.spec
    with WavReader(arguments.wav, spec.sample_rate_hz, spec.frame_samples) as reader:
        frames = list(reader)
    length_s = len(frames) * spec.frame_s
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.model.name}, {length_s:.1f} s of sound")
    after_ms, factors = [], []
    with worker("--model", arguments.model, "--codec", arguments.codec, "--threads", "1", "--slots", "1") as started:
        for _ in range(arguments.runs):
            _, last_s, _ = asyncio.run(transcribe(started.address, codec, frames, spec.frame_s))
            after_ms.append(1e3 * last_s)
            whole_s, _, words = asyncio.run(transcribe(started.address, codec, frames, 0.0))
            factors.append(whole_s / length_s)
    p50, p95, p99 = np.percentile(after_ms, [50, 95, 99])
    print(f"from the last frame to the end: p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms")
    print(f"as fast as it goes: real-time factor {np.median(factors):.3f}, {words} words")


if __name__ == "__main__":
    main()
