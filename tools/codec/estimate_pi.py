"""Estimates a codec's real-time factor on a Raspberry Pi from its cost per frame and its time per frame here.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m tools.codec.estimate_pi CODEC_DIR

Prints a table with a row for this machine and for each Pi. The bound of a frame is its multiply-accumulates at the
core's peak rate plus its bytes at the memory's peak rate. This machine's peaks and its time per frame, measured in
turns on one thread, give the share of the bound that onnxruntime reaches. The estimate applies the same share to the
Pis' published peaks. A processor with VNNI multiplies bytes faster than any Pi 4: with --no-vnni it does not.
docs/raspberry-pi.md discusses its accuracy.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import click
import numpy as np

from antiphon_edge import Codec
from antiphon_edge.doctor.device import find_device
from tools.codec.count_ops import count

SIDE = 768  # of the matrices that measure peak arithmetic: 7 MB, within the core's caches
STREAM_FLOATS = 24_000_000  # 2 × 96 MB: larger than any cache


@dataclass(frozen=True)
class Cores:
    """Peak rates of the cores that a step uses; docs/raspberry-pi.md has the sources."""

    name: str
    gmac_s: float  # float32
    read_gb_s: float

    def bound_ms(self, macs: int, bytes_read: int) -> float:
        """Time of a frame at both peaks, one after the other."""
        return 1e-6 * (macs / self.gmac_s + bytes_read / self.read_gb_s)


PIS = (
    Cores("Pi 4, 1 core at 1.5 GHz", gmac_s=4 * 1.5, read_gb_s=4.8),
    Cores("Pi 4, 1 core at 1.8 GHz", gmac_s=4 * 1.8, read_gb_s=4.8),
    Cores("Pi 4, 4 cores at 1.8 GHz", gmac_s=4 * 4 * 1.8, read_gb_s=4.8),
    Cores("Pi 5, 1 core at 2.4 GHz", gmac_s=8 * 2.4, read_gb_s=9.3),
    Cores("Pi 5, 4 cores at 2.4 GHz", gmac_s=4 * 8 * 2.4, read_gb_s=11.6),
)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="CODEC_DIR")
@click.option(
    "--no-vnni", is_flag=True, help="Multiply bytes as a processor without VNNI: for a Pi 4, which has no dot product."
)
@click.option("--rounds", default=100, show_default=True, help="Rounds, each measuring both peaks once and two frames.")
def main(folder: Path, rounds: int, no_vnni: bool) -> None:
    """Prints the estimate for the codec in CODEC_DIR."""
    if any(os.environ.get(name) != "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")):
        raise click.UsageError("numpy must use one thread: set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1")
    with patch("antiphon_edge.codec.files.has_vnni", return_value=False) if no_vnni else nullcontext():
        codec = Codec.load(folder, threads=1)
    encoder, decoder = (count(folder / graph.file, graph) for graph in (codec.manifest.encoder, codec.manifest.decoder))
    cost = encoder + decoder
    macs, bytes_read = cost.macs.total(), cost.weight_bytes + cost.state_bytes
    here, frame_ms = measure(codec, rounds)
    share = here.bound_ms(macs, bytes_read) / frame_ms
    print(f"{codec.manifest.precision}: {macs / 1e6:.0f} M multiply-accumulates, {bytes_read / 1e6:.0f} MB a frame")
    print(f"here: a frame in {frame_ms:.1f} ms (median), {share:.0%} of its bound")
    print(f"{'':<26}{'GMAC/s':>8}{'GB/s':>7}{'bound ms':>10}{'frame ms':>10}{'real-time factor':>18}")
    for cores in (here, *PIS):
        bound_ms = cores.bound_ms(macs, bytes_read)
        factor = bound_ms / share / (1e3 * codec.spec.frame_s)
        print(
            f"{cores.name:<26}{cores.gmac_s:>8.1f}{cores.read_gb_s:>7.1f}{bound_ms:>10.1f}{bound_ms / share:>10.1f}"
            f"{factor:>18.2f}{'' if cores is here else '  estimate'}"
        )


def measure(codec: Codec, rounds: int) -> tuple[Cores, float]:
    """This core's peaks and its milliseconds per frame: medians, measured in turns."""
    random = np.random.default_rng(0)
    square = random.standard_normal((SIDE, SIDE), dtype=np.float32)
    left = random.standard_normal(STREAM_FLOATS, dtype=np.float32)
    right = left.copy()
    encoder, decoder = codec.encoder(), codec.decoder()
    product_s, read_s, frame_s = [], [], []
    for _ in range(rounds):
        start = perf_counter()
        square @ square
        product_s.append(perf_counter() - start)
        start = perf_counter()
        left @ right
        read_s.append(perf_counter() - start)
        for _ in range(2):
            pcm = random.uniform(-0.1, 0.1, codec.spec.frame_samples).astype(np.float32)
            start = perf_counter()
            decoder.step(encoder.step(pcm))
            frame_s.append(perf_counter() - start)
    gmac_s = 1e-9 * SIDE**3 / float(np.median(product_s))
    read_gb_s = 1e-9 * (left.nbytes + right.nbytes) / float(np.median(read_s))
    return Cores(f"{find_device().name}, 1 core", gmac_s, read_gb_s), 1e3 * float(np.median(frame_s[2:]))


if __name__ == "__main__":
    main()
