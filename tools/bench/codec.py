"""Times the codec against its peers and against the peak rates of this core.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m tools.bench.codec CHECKPOINT_DIR --peer-python PYTHON

PYTHON has rustymimi and moshi installed. All codecs take turns on the same speech with one thread each. Prints
percentiles of the milliseconds per frame with the ratios to the peers, then the share of the core's peaks. Compare only
ratios within one run, because other work on the machine slows all codecs alike.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import get_args

import click
import numpy as np

from antiphon_cloud.codec.export import Precision, export_codec
from antiphon_edge import Codec
from tools.codec.compare import CHECKPOINT, Floats, peer, processor, speech
from tools.codec.count_ops import Cost, count

PEERS = ("rustymimi", "moshi")
SIDE = 768  # of the matrices that measure peak arithmetic: 7 MB, within the core's caches
STREAM_FLOATS = 64_000_000  # 256 MB that measure peak read bandwidth: larger than any cache
EVERY_FRAMES = 10  # how often the peaks are measured

Step = Callable[[Floats], tuple[float, float]]
"""Encodes a frame and decodes its codes; returns the milliseconds of each."""


@dataclass
class Peaks:
    """The rates that this core reached, one value per measurement."""

    gmac_s: list[float] = field(default_factory=list)
    read_gb_s: list[float] = field(default_factory=list)

    def measure(self, square: Floats, stream: Floats) -> None:
        """Times one product in the caches and one read from memory."""
        start = perf_counter()
        square @ square
        multiplied = perf_counter()
        stream.max()
        end = perf_counter()
        self.gmac_s.append(1e-9 * SIDE**3 / (multiplied - start))
        self.read_gb_s.append(1e-9 * stream.nbytes / (end - multiplied))


@click.command()
@click.argument("checkpoint_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--frames", default=200, show_default=True, help="Frames of 80 ms; the first tenth warms up.")
@click.option("--codebooks", default=8, show_default=True)
@click.option("--fp32", type=click.Path(path_type=Path), help="Codec exported at fp32 (default: a new one).")
@click.option("--int8", type=click.Path(path_type=Path), help="Codec exported at int8 (default: a new one).")
@click.option("--peer-python", envvar="ANTIPHON_PEER_PYTHON", required=True, help="Python with the peers installed.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(PEERS), default=PEERS, show_default=True)
def main(
    checkpoint_dir: Path,
    frames: int,
    codebooks: int,
    fp32: Path | None,
    int8: Path | None,
    peer_python: str,
    peers: tuple[str, ...],
) -> None:
    """Times the codec made from CHECKPOINT_DIR against its peers."""
    if any(os.environ.get(name) != "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")):
        raise click.UsageError("numpy must use one thread: set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1")
    checkpoint = checkpoint_dir / CHECKPOINT
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folders = {"fp32": fp32, "int8": int8}
        steps: dict[str, Step] = {}
        costs: dict[str, Cost] = {}
        for precision in get_args(Precision):
            folder = folders[precision] or scratch / precision
            if not folder.exists():
                export_codec(checkpoint, None, folder, codebooks=codebooks, precision=precision)
            codec = Codec.load(folder, threads=1)
            name = f"antiphon {precision}"
            steps[name] = our_step(codec)
            costs[name] = sum_cost(codec, folder)
        for name in peers:
            steps[name] = peer_step(stack.enter_context(peer(peer_python, name, checkpoint, codebooks)), codebooks)
        pcm = speech(scratch / "speech.wav", frames * codec.spec.frame_samples, codec.spec.sample_rate_hz)
        peaks = Peaks()
        times = race(steps, pcm.reshape(frames, -1), peaks)
    report(times, peers, costs, peaks)


def our_step(codec: Codec) -> Step:
    """One stream of the codec."""
    encoder, decoder = codec.encoder(), codec.decoder()

    def step(pcm: Floats) -> tuple[float, float]:
        start = perf_counter()
        codes = encoder.step(pcm)
        encoded = perf_counter()
        decoder.step(codes)
        return 1e3 * (encoded - start), 1e3 * (perf_counter() - encoded)

    return step


def peer_step(process: subprocess.Popen[bytes], codebooks: int) -> Step:
    """One stream of a peer, which times itself; tools/codec/peer.py describes the protocol."""

    def step(pcm: Floats) -> tuple[float, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pcm.tobytes())
        process.stdin.flush()
        process.stdout.read(4 * codebooks)
        encode = float(np.frombuffer(process.stdout.read(8), np.float64)[0])
        process.stdout.read(pcm.nbytes)
        return encode, float(np.frombuffer(process.stdout.read(8), np.float64)[0])

    return step


def sum_cost(codec: Codec, folder: Path) -> Cost:
    """The cost of a frame, encoding and decoding."""
    encoder, decoder = (count(folder / graph.file, graph) for graph in (codec.manifest.encoder, codec.manifest.decoder))
    return encoder + decoder


def race(steps: dict[str, Step], pcm: Floats, peaks: Peaks) -> dict[str, Floats]:
    """Runs all codecs in turns on each frame of `pcm` [frames, frame_samples]; returns milliseconds [frames, 2]."""
    random = np.random.default_rng(0)
    square = random.standard_normal((SIDE, SIDE), dtype=np.float32)
    stream = random.standard_normal(STREAM_FLOATS, dtype=np.float32)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    names = list(steps)
    for number, frame in enumerate(pcm):
        if number % EVERY_FRAMES == 0:
            peaks.measure(square, stream)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(steps[name](frame))
    warm = len(pcm) // 10
    return {name: np.array(values[warm:], np.float32) for name, values in times.items()}


def report(times: dict[str, Floats], peers: tuple[str, ...], costs: dict[str, Cost], peaks: Peaks) -> None:
    """Prints the table."""
    frames = len(next(iter(times.values())))
    print(f"{processor()}, 1 thread each, in turns, {frames} frames of 80 ms, milliseconds a frame")
    ratios = "".join(f"{f'× {name}':>13}" for name in peers)
    print(f"{'p50 / p95 / p99':<15}{'encode':>24}{'decode':>24}{'both':>24}{ratios}")
    both = {name: float(np.median(values.sum(1))) for name, values in times.items()}
    for name, values in times.items():
        columns = (values[:, 0], values[:, 1], values.sum(1))
        cells = ["/".join(f"{np.percentile(column, q):7.2f}" for q in (50, 95, 99)) for column in columns]
        beside = "".join(f"{both[other] / both[name]:>13.2f}" for other in peers)
        print(f"{name:<15}" + "".join(f"{cell:>24}" for cell in cells) + beside)
    gmac_s, read_gb_s = float(np.median(peaks.gmac_s)), float(np.median(peaks.read_gb_s))
    print(
        f"this core, medians of the same minutes: {gmac_s:.1f} GMAC/s float32 ({2 * gmac_s:.0f} GFLOP/s), "
        f"{read_gb_s:.1f} GB/s read"
    )
    for name, cost in costs.items():
        macs, read = cost.macs.total(), cost.weight_bytes + cost.state_bytes
        compute_ms, read_ms = 1e-6 * macs / gmac_s, 1e-6 * read / read_gb_s
        print(
            f"{name}: {macs / 1e6:.0f} M multiply-accumulates a frame ({compute_ms:.1f} ms at the peak, "
            f"{compute_ms / both[name]:.0%} of the time), {read / 1e6:.0f} MB ({read_ms:.1f} ms, "
            f"{read_ms / both[name]:.0%}); one after the other {(compute_ms + read_ms) / both[name]:.0%}"
        )


if __name__ == "__main__":
    main()
