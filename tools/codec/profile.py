"""Shows where a frame's time goes, by onnxruntime's profile of an exported codec.

    OMP_NUM_THREADS=1 python -m tools.codec.profile CODEC_DIR

Prints each operator's nodes and time, then the slowest nodes, for both halves on one thread. A node's time is its lower
quartile over the frames, because other work on the machine only adds to it.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click
import numpy as np
import onnxruntime as ort

from antiphon.codec_manifest import CodecManifest
from antiphon_edge.codec.codec import Decoder, Encoder
from antiphon_edge.codec.files import Half, read_manifest, session_options

WARM_FRAMES = 10


@dataclass(frozen=True)
class NodeTime:
    """A node's time in a frame."""

    name: str
    operator: str
    shapes: str
    time_us: float


@click.command()
@click.argument("codec", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="CODEC_DIR")
@click.option("--frames", default=150, show_default=True, help="Frames of 80 ms of noise.")
@click.option("--top", default=20, show_default=True, help="How many of the slowest nodes to show.")
def main(codec: Path, frames: int, top: int) -> None:
    """Prints where the time of the codec in CODEC_DIR goes."""
    for half in get_args(Half):
        nodes = profile(codec, half, frames)
        whole_us = sum(node.time_us for node in nodes)
        print(f"{half}: {len(nodes)} nodes, {whole_us / 1e3:.2f} ms")
        operators: dict[str, list[float]] = defaultdict(list)
        for node in nodes:
            operators[node.operator].append(node.time_us)
        for operator, times in sorted(operators.items(), key=lambda entry: -sum(entry[1])):
            print(f"  {operator:<24}{len(times):>5}{sum(times):>9.0f} us{sum(times) / whole_us:>8.1%}")
        for node in sorted(nodes, key=lambda node: -node.time_us)[:top]:
            print(f"  {node.time_us:>7.0f} us  {node.operator} {node.shapes}  {node.name}")


def profile(folder: Path, half: Half, frames: int) -> list[NodeTime]:
    """The time of every node of one half of the codec in `folder`."""
    manifest = read_manifest(folder)
    with tempfile.TemporaryDirectory() as scratch:
        options = session_options(threads=1)
        options.enable_profiling = True
        options.profile_file_prefix = f"{scratch}/profile"
        graph = manifest.encoder if half == "encoder" else manifest.decoder
        session = ort.InferenceSession(str(folder / graph.file), options, providers=["CPUExecutionProvider"])
        run(session, manifest, half, frames + WARM_FRAMES)
        events = json.loads(Path(session.end_profiling()).read_text())
    found: dict[str, list[dict[str, object]]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            found[event["name"].removesuffix("_kernel_time")].append(event)
    return [_node_time(name, runs) for name, runs in found.items()]


def run(session: ort.InferenceSession, manifest: CodecManifest, half: Half, frames: int) -> None:
    """Encodes noise, or decodes random codes."""
    random = np.random.default_rng(0)
    if half == "encoder":
        encoder = Encoder(session, manifest)
        for _ in range(frames):
            encoder.step(random.uniform(-0.1, 0.1, manifest.frame_samples).astype(np.float32))
    else:
        decoder = Decoder(session, manifest)
        for _ in range(frames):
            decoder.step(random.integers(0, manifest.cardinality, manifest.codebooks))


def _node_time(name: str, runs: list[dict[str, object]]) -> NodeTime:
    arguments = runs[0]["args"]
    assert isinstance(arguments, dict)
    shapes = [next(iter(kind.values())) for kind in arguments.get("input_type_shape", [])]
    times = [float(str(event["dur"])) for event in runs[WARM_FRAMES:]]
    return NodeTime(name, str(arguments["op_name"]), " ".join(map(str, shapes)), float(np.percentile(times, 25)))


if __name__ == "__main__":
    main()
