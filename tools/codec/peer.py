"""Runs another Mimi behind a pipe, for `tools.codec.compare` and `tools.bench.codec`.

    PYTHON tools/codec/peer.py rustymimi|moshi CHECKPOINT CODEBOOKS

PYTHON has rustymimi or moshi installed. For each frame, standard input carries samples [1920] float32. Standard output
carries the codes [K] int32 and a time, then the samples [1920] float32 decoded from them and a time. Times are float64
milliseconds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

FRAME_SAMPLES = 1920


def rustymimi(checkpoint: str, codebooks: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Encode and decode of the Rust implementation."""
    from rustymimi import Tokenizer  # type: ignore[import-not-found]

    codec = Tokenizer(checkpoint, num_codebooks=codebooks)
    return codec.encode_step, codec.decode_step


def moshi(checkpoint: str, codebooks: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Encode and decode of the reference implementation in PyTorch."""
    os.environ["NO_TORCH_COMPILE"] = os.environ["NO_CUDA_GRAPH"] = "1"
    import torch
    from moshi.models import loaders

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    codec = loaders.get_mimi(checkpoint, num_codebooks=codebooks)
    codec.streaming_forever(1)
    return lambda pcm: codec.encode(torch.from_numpy(pcm)), codec.decode


def main() -> None:
    """Codes frames until standard input ends."""
    encode, decode = {"rustymimi": rustymimi, "moshi": moshi}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    out = sys.stdout.buffer
    while frame := sys.stdin.buffer.read(FRAME_SAMPLES * 4):
        pcm = np.frombuffer(bytearray(frame), np.float32)[None, None]
        start = time.perf_counter()
        codes = encode(pcm)
        encoded = time.perf_counter()
        decoded = decode(codes)
        end = time.perf_counter()
        out.write(np.asarray(codes).astype(np.int32).tobytes() + np.float64(1e3 * (encoded - start)).tobytes())
        out.write(np.asarray(decoded).astype(np.float32).tobytes() + np.float64(1e3 * (end - encoded)).tobytes())
        out.flush()


if __name__ == "__main__":
    main()
