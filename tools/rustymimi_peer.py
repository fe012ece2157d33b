"""rustymimi behind a pipe, for compare_codec.py: CHECKPOINT CODEBOOKS. Runs in a Python of its own, which has it.

Standard input and output carry, frame by frame: samples [1920] float32 in, codes [K] int32 and a time out, then
samples [1920] float32 (of those codes) and a time out. Times are float64 milliseconds.
"""

import sys
import time

import numpy as np
import rustymimi  # type: ignore[import-not-found]

FRAME_SAMPLES = 1920


def main() -> None:
    """Until standard input ends."""
    codec = rustymimi.Tokenizer(sys.argv[1], num_codebooks=int(sys.argv[2]))
    out = sys.stdout.buffer
    while frame := sys.stdin.buffer.read(FRAME_SAMPLES * 4):
        pcm = np.frombuffer(frame, np.float32)[None, None]
        start = time.perf_counter()
        codes = codec.encode_step(pcm)
        encoded = time.perf_counter()
        decoded = codec.decode_step(codes)
        end = time.perf_counter()
        out.write(np.asarray(codes, np.int32).tobytes() + np.float64(1e3 * (encoded - start)).tobytes())
        out.write(np.asarray(decoded, np.float32).tobytes() + np.float64(1e3 * (end - encoded)).tobytes())
        out.flush()


if __name__ == "__main__":
    main()
