"""Runs a codec for an hour of audio and compares its last minute with references that start shortly before.

    python -m tools.codec.soak CHECKPOINT [--config mimi_config.json] [--codec DIR] [--frames 45000]

Prints memory over time, time per frame at the start and at the end, the share of equal codes and the difference of the
audio in the last minute, and the time per frame in digital silence. Ctrl-C ends the stream early; the results are then
those of the frames until then.

The first reference is the same codec, started at the same frame and position. It must give the same codes at any
precision and bit-identical audio; anything that an hour leaves in the state would show as a difference.

The second is the PyTorch model in float32. It starts so early before the last minute that no earlier input reaches the
compared codes: a layer sees `context` positions back, so all layers together see layers × context. Its position count
starts at the stream's, because the rotary embedding takes the angle of the absolute position, in float32. A third
reference counts from zero and shows the effect of that rounding.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch

from antiphon.codec_manifest import CodecManifest
from antiphon_cloud.codec.export import export_codec
from antiphon_cloud.codec.mimi import Decoder, Encoder, Mimi, MimiConfig
from antiphon_cloud.codec.mimi.model import POSITION
from antiphon_edge import Codec
from antiphon_edge.codec.files import Half, open_graph
from tools.codec.compare import Floats, processor, speech
from tools.harness.process_memory import memory_bytes

Codes = npt.NDArray[np.int32]
Hear = Callable[[int], Floats]
"""Returns the samples of a frame by its number, so that any stretch can be played again."""

MINUTE_FRAMES = 750
SPEECH_FRAMES = 1000
CHUNK_FRAMES = 25  # per call of the reference


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--config", type=click.Path(exists=True, path_type=Path), help="The checkpoint's mimi_config.json.")
@click.option("--codec", "folder", type=click.Path(path_type=Path), help="The exported codec (default: export it).")
@click.option("--frames", type=click.IntRange(100), default=45_000, show_default=True, help="Frames of 80 ms.")
def main(checkpoint: Path, config: Path | None, folder: Path | None, frames: int) -> None:
    """Runs the codec made from CHECKPOINT for a long time and prints what changed."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch) / "codec"
            export_codec(checkpoint, config, folder)
        codec = Codec.load(folder, threads=1)
        hear = make_hear(Path(scratch), codec)
        seconds = frames * codec.spec.frame_s
        print(f"{processor()}, 1 thread, {codec.manifest.precision}, {frames} frames ({seconds / 60:.1f} min of audio)")
        frames, codes, audio = soak(codec, hear, frames)
        compare(Mimi.load(checkpoint, config, codec.spec.codebooks), codec, folder, hear, frames, codes, audio)
        silence(codec, hear)


def make_hear(scratch: Path, codec: Codec) -> Hear:
    """Speech that never repeats: loudness and noise change from frame to frame."""
    size = codec.spec.frame_samples
    spoken = speech(scratch / "speech.wav", SPEECH_FRAMES * size, codec.spec.sample_rate_hz).reshape(-1, size)

    def hear(number: int) -> Floats:
        noise = np.random.default_rng(number).standard_normal(size, np.float32)
        loudness = np.float32(0.6 + 0.4 * np.sin(number / 777))
        mixed: Floats = spoken[number % SPEECH_FRAMES] * loudness + np.float32(0.002) * noise
        return mixed

    return hear


def soak(codec: Codec, hear: Hear, frames: int) -> tuple[int, Codes, Floats]:
    """Runs both halves; returns the number of frames, and the codes and audio of the last minute."""
    ended = Event()
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    encoder, decoder, spec = codec.encoder(), codec.decoder(), codec.spec
    kept = min(frames, MINUTE_FRAMES)
    last_codes = np.ones((kept, spec.codebooks), np.int32)  # ones, not empty: commits the memory now
    last_audio = np.ones((kept, spec.frame_samples), np.float32)
    every = max(frames // 100, 1)
    times, resident = np.ones(frames), np.ones(-(-frames // every))
    number = 0
    while number < frames and not (ended.is_set() and number >= kept):
        pcm = hear(number)
        start = perf_counter()
        codes = encoder.step(pcm)
        decoded = decoder.step(codes)
        times[number] = perf_counter() - start
        last_codes[number % kept], last_audio[number % kept] = codes, decoded
        if number % every == 0:
            resident[number // every] = memory_bytes() / 1024
            if number % (10 * every) == 0:
                print(f"frame {number}: {resident[number // every] / 1024:.1f} MiB", flush=True)
        number += 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    measured = resident[: -(-number // every)]
    tail = measured[len(measured) // 10 :]
    slope = np.polyfit(every * np.arange(len(tail)), tail, 1)[0] * 1000
    print(
        f"memory over {number} frames: {tail[0] / 1024:.1f} MiB after a tenth, {tail[-1] / 1024:.1f} MiB at the end, "
        f"least {tail.min() / 1024:.1f}, most {tail.max() / 1024:.1f}, {slope:+.2f} KiB in 1000 frames"
    )
    tenth = max(number // 10, 1)
    print(
        f"time a frame, both ways: p50 {1e3 * np.median(times[:tenth]):.2f} ms in the first tenth, "
        f"{1e3 * np.median(times[number - tenth : number]):.2f} ms in the last",
        flush=True,
    )
    return number, np.roll(last_codes, -(number % kept), 0), np.roll(last_audio, -(number % kept), 0).ravel()


@torch.no_grad()
def compare(mimi: Mimi, codec: Codec, folder: Path, hear: Hear, frames: int, codes: Codes, audio: Floats) -> None:
    """Compares the last minute with references that start just early enough."""
    config, kept = mimi.config, len(codes)
    warm = warm_up_frames(config)
    start = max(frames - kept - 2 * warm, 0)  # twice: the decoder warms up on codes of a warm encoder
    decoded_from = warm if start else 0  # counted from `start`

    def say(reference: str, found: Codes, decoded: Floats) -> None:
        equal, difference = found[-kept:] == codes, decoded[-len(audio) :] - audio
        print(
            f"last {kept} frames beside {reference}, fresh at frame {start}: {equal.sum()} of {equal.size} codes equal "
            f"({len(np.unique(codes))} distinct), audio L2 difference "
            f"{np.linalg.norm(difference) / np.linalg.norm(decoded[-len(audio) :]):.1e}",
            flush=True,
        )

    position = start * config.positions_per_frame
    pcm = (hear(number) for number in range(start, frames))
    found = np.stack(list(run_half(folder, codec.manifest, "encoder", pcm, position)))
    position += decoded_from * config.positions_per_frame
    decoded = np.concatenate(list(run_half(folder, codec.manifest, "decoder", found[decoded_from:], position)))
    say("the same codec", found, decoded)
    for what, first in (("as the stream counts", start), ("from zero", 0)):
        found = encode(mimi.encoder, hear, start, frames, first * config.positions_per_frame)
        say(
            f"a float32 reference of positions {what}",
            found,
            decode(mimi.decoder, found[decoded_from:], first + decoded_from),
        )
        if not start:
            break


def run_half(
    folder: Path, manifest: CodecManifest, half: Half, rows: Iterable[npt.NDArray[Any]], position: int
) -> Iterator[npt.NDArray[Any]]:
    """Runs one half of the codec over `rows` as a stream that begins at the transformer's `position`."""
    session = open_graph(folder, manifest, half, threads=1)
    graph = manifest.encoder if half == "encoder" else manifest.decoder
    outputs = [graph.output, *(state.output for state in graph.states)]
    states = {state.input: np.zeros(state.shape, state.dtype) for state in graph.states}
    states[POSITION][...] = position
    for row in rows:
        result, *after = session.run(outputs, {graph.input: row} | states)
        states = dict(zip(states, after, strict=True))
        yield result


def warm_up_frames(config: MimiConfig) -> int:
    """How far back the codes of a frame depend on input: every layer's context, and a few frames of convolutions."""
    positions = config.transformer.num_layers * config.transformer.context
    return -(-positions // config.positions_per_frame) + 8


def encode(encoder: Encoder, hear: Hear, start: int, end: int, position: int) -> Codes:
    """Codes of frames `start` to `end`, from a stream that begins there at the transformers' `position`."""
    state = encoder.initial_state()
    state[POSITION] += position
    found = []
    for first in range(start, end, CHUNK_FRAMES):
        pcm = np.concatenate([hear(number) for number in range(first, min(first + CHUNK_FRAMES, end))])
        codes, state = encoder(torch.from_numpy(pcm), state)
        found.append(codes.numpy())
    return np.concatenate(found).astype(np.int32)


def decode(decoder: Decoder, codes: Codes, start: int) -> Floats:
    """Audio of `codes`, from a stream that begins at frame `start`."""
    state = decoder.initial_state()
    state[POSITION] += start * decoder.config.positions_per_frame
    found = []
    for chunk in np.array_split(codes, -(-len(codes) // CHUNK_FRAMES)):
        pcm, state = decoder(torch.from_numpy(chunk), state)
        found.append(pcm.numpy())
    return np.concatenate(found)


def silence(codec: Codec, hear: Hear) -> None:
    """Times digital silence against speech.

    Values that decay towards zero can become subnormal, which some processors handle a hundred times slower. Two
    streams take turns: one continues with speech, the other gets silence.
    """
    size = codec.spec.frame_samples
    streams = [(codec.encoder(), codec.decoder()) for _ in range(2)]
    spoken_frames = MINUTE_FRAMES // 3
    times = np.ones((spoken_frames + MINUTE_FRAMES, 2))
    for number in range(len(times)):
        pcm = hear(number)
        for i, (encoder, decoder) in enumerate(streams):
            start = perf_counter()
            decoder.step(encoder.step(pcm if i == 0 or number < spoken_frames else np.zeros(size, np.float32)))
            times[number, i] = perf_counter() - start
    spoken, silent = 1e3 * np.median(times[-MINUTE_FRAMES // 3 :], 0)
    print(f"digital silence: p50 {silent:.2f} ms a frame after 40 s of it, {spoken:.2f} ms beside it in speech")


if __name__ == "__main__":
    main()
