"""Plays a sound file to a model, as fast as the worker answers, and keeps the reply as a wav file of the same length.

python examples/wav_to_wav.py localhost:50051 question.wav reply.wav
"""

import asyncio
import sys
from pathlib import Path

from antiphon_edge import Codec, WavReader, WavWriter, connect, pull_codec
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.sources import paced, with_silence


async def main(address: str, question: Path, reply: Path) -> None:
    """Prints the reply's text while it comes."""
    codec = Codec.load(await pull_codec(address))
    spec = codec.spec
    with (
        WavReader(question, spec.sample_rate_hz, spec.frame_samples) as frames,
        WavWriter(reply, spec.sample_rate_hz) as writer,
    ):
        async with connect(address, spec) as session:
            whole = with_silence(frames, spec.frame_samples, session.model.delay_steps)
            heard = paced(whole, frame_s=0)  # spec.frame_s would play it at the speed of speech
            await talk(session, codec, heard, writer.write, lambda reply: print(reply.text, end="", flush=True))
    print()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
