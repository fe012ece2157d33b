"""A script without asyncio: writes down what a model says to a sound file.

python examples/blocking.py localhost:50051 question.wav
"""

import asyncio
import sys

from antiphon_edge import Codec, Hearing, WavReader, blocking, pull_codec


def main(address: str, question: str) -> None:
    """Sends the whole file, a frame at a time, and then hears the model out."""
    codec = Codec.load(asyncio.run(pull_codec(address)))
    spec = codec.spec
    with (
        WavReader(question, spec.sample_rate_hz, spec.frame_samples) as frames,
        blocking.connect(address, spec) as session,
    ):
        for codes in Hearing(codec, session.model).codes(frames):  # int32 [user_codebooks]
            print(session.exchange(codes).text, end="", flush=True)
        for reply in session.end():
            print(reply.text, end="", flush=True)
        print()
        assert session.totals is not None
        print(session.totals.frames, "frames")


if __name__ == "__main__":
    main(*sys.argv[1:])
