"""Compares our codec with another Mimi, frame by frame on the same speech.

    python -m tools.codec.compare CHECKPOINT_DIR --peer-python /tmp/oracle/bin/python

Prints the share of equal codes, the error of the decoded audio, and percentiles of the time per frame. Both codecs take
turns with one thread each, so that a noisy machine affects both alike. Our decoder decodes the peer's codes.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import click
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from antiphon_cloud.codec.export import export_codec
from antiphon_edge import Codec

Floats = npt.NDArray[np.float32]

CHECKPOINT = "tokenizer-e351c8d8-checkpoint125.safetensors"
TEXT = (
    "Two choirs, one on each bank, answer each other across the water. The one at the edge hears and speaks, "
    "the one in the cloud thinks, and between them nothing travels but a handful of small numbers, twelve and a half "
    "times a second. Whoever listens closely can tell them apart, though neither waits for the other to finish."
)


@dataclass
class Comparison:
    """The measurements; times in milliseconds."""

    ours: dict[str, list[float]] = field(default_factory=lambda: {"encode": [], "decode": []})
    peer: dict[str, list[float]] = field(default_factory=lambda: {"encode": [], "decode": []})
    codes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    peer_codes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    decoded: list[Floats] = field(default_factory=list)
    peer_decoded: list[Floats] = field(default_factory=list)


@click.command()
@click.argument("checkpoint_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--frames", default=400, show_default=True, help="Frames of 80 ms to compare.")
@click.option("--codebooks", default=8, show_default=True)
@click.option("--codec", "codec_folder", type=click.Path(path_type=Path), help="Exported codec (default: a new one).")
@click.option("--peer", "name", type=click.Choice(["rustymimi", "moshi"]), default="rustymimi", show_default=True)
@click.option("--peer-python", envvar="ANTIPHON_PEER_PYTHON", required=True, help="Python with the peer installed.")
def main(
    checkpoint_dir: Path, frames: int, codebooks: int, codec_folder: Path | None, name: str, peer_python: str
) -> None:
    """Compares the codec made from CHECKPOINT_DIR with a peer."""
    checkpoint = checkpoint_dir / CHECKPOINT
    with tempfile.TemporaryDirectory() as scratch:
        if codec_folder is None:
            codec_folder = Path(scratch) / "codec"
            export_codec(checkpoint, None, codec_folder, codebooks=codebooks)
        codec = Codec.load(codec_folder, threads=1)
        pcm = speech(Path(scratch) / "speech.wav", frames * codec.spec.frame_samples, codec.spec.sample_rate_hz)
    with peer(peer_python, name, checkpoint, codebooks) as process:
        report(compare(codec, process, pcm.reshape(frames, -1)), name)


def compare(codec: Codec, process: subprocess.Popen[bytes], pcm: Floats) -> Comparison:
    """Runs both codecs on `pcm` [frames, frame_samples]."""
    found = Comparison()
    encoder, decoder, codebooks = codec.encoder(), codec.decoder(), codec.spec.codebooks
    assert process.stdin is not None
    assert process.stdout is not None
    for frame in pcm:
        process.stdin.write(frame.tobytes())
        process.stdin.flush()
        peer_codes = np.frombuffer(process.stdout.read(4 * codebooks), np.int32)
        found.peer["encode"].append(float(np.frombuffer(process.stdout.read(8), np.float64)[0]))
        found.peer_decoded.append(np.frombuffer(process.stdout.read(frame.nbytes), np.float32))
        found.peer["decode"].append(float(np.frombuffer(process.stdout.read(8), np.float64)[0]))
        start = perf_counter()
        codes = encoder.step(frame)
        encoded = perf_counter()
        found.decoded.append(decoder.step(peer_codes))
        end = perf_counter()
        found.ours["encode"].append(1e3 * (encoded - start))
        found.ours["decode"].append(1e3 * (end - encoded))
        found.codes.append(codes)
        found.peer_codes.append(peer_codes)
    return found


def report(found: Comparison, name: str) -> None:
    """Prints the results."""
    codes, peer_codes = np.stack(found.codes), np.stack(found.peer_codes)
    decoded, peer_decoded = np.concatenate(found.decoded), np.concatenate(found.peer_decoded)
    error = decoded - peer_decoded
    click.echo(f"{processor()}, 1 thread each, in turns, {len(codes)} frames of 80 ms")
    distinct = [len(np.unique(column)) for column in peer_codes.T]
    click.echo(f"equal codes: {(codes == peer_codes).sum()} of {codes.size}; distinct ones a codebook: {distinct}")
    for frame, codebook in np.argwhere(codes != peer_codes)[:10]:
        click.echo(f"  frame {frame} codebook {codebook}: {codes[frame, codebook]}, peer {peer_codes[frame, codebook]}")
    click.echo(
        f"decoded audio: max error {np.abs(error).max() / np.abs(peer_decoded).max():.2e} of the peak, "
        f"L2 {np.linalg.norm(error) / np.linalg.norm(peer_decoded):.2e}"
    )
    warm = len(codes) // 10
    for what in ("encode", "decode"):
        ours, peer_times = (np.array(times[what][warm:]) for times in (found.ours, found.peer))
        click.echo(
            f"{what}: ours p50 {np.median(ours):.2f} p95 {np.percentile(ours, 95):.2f} "
            f"p99 {np.percentile(ours, 99):.2f} ms, {name} p50 {np.median(peer_times):.2f} "
            f"p95 {np.percentile(peer_times, 95):.2f} p99 {np.percentile(peer_times, 99):.2f} ms, "
            f"ratio of medians {np.median(peer_times) / np.median(ours):.2f}"
        )


@contextmanager
def peer(python: str, name: str, checkpoint: Path, codebooks: int) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the peer in its own process with one thread."""
    command = [python, str(Path(__file__).with_name("peer.py")), name, str(checkpoint), str(codebooks)]
    environment = os.environ | {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def speech(path: Path, samples: int, rate_hz: int) -> Floats:
    """Speech from espeak-ng (Debian: espeak-ng) [samples], repeated to length; `path` is a scratch wav file."""
    subprocess.run(["espeak-ng", "-w", str(path), TEXT], check=True)
    pcm, spoken_hz = soundfile.read(path, dtype="float32")
    resampled = np.asarray(soxr.resample(pcm, spoken_hz, rate_hz), np.float32)
    return np.resize(resampled, samples)


def processor() -> str:
    """The processor's name, from /proc/cpuinfo if there is one."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
