"""`make demo`: a spoken sentence through a whole Antiphon on this machine, in real time, and what it cost."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from antiphon.errors import AntiphonError
from antiphon_edge import client
from antiphon_edge.client import Reply
from antiphon_edge.codec import Codec
from antiphon_edge.hops import format_table
from antiphon_edge.talk import Conversation, paced, talk, with_silence
from antiphon_edge.wav import WavReader, WavWriter
from relay import Traffic, relay
from worker_process import BIN, worker

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = ROOT / "tools/demo/sentence.wav"
RANDOM_MODEL = ROOT / "tests/golden/moshi-tiny"
SETTLED_FRAMES = 12  # the first second holds the handshake; steady state starts after it


def main() -> None:
    """Serves the model, talks to it, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=RANDOM_MODEL, help="model directory (default: %(default)s)")
    parser.add_argument("--input-wav", type=Path, default=SENTENCE, help="what is said (default: %(default)s)")
    parser.add_argument("--output-wav", type=Path, default=Path("reply.wav"), help="the reply (default: %(default)s)")
    arguments = parser.parse_args()
    is_random = arguments.model.resolve() == RANDOM_MODEL
    if is_random:
        print(
            "This model's weights are random: the reply is noise, and its text means nothing. The path is the real one."
        )
    with tempfile.TemporaryDirectory() as temporary:
        codec = Path(temporary) / "codec"
        exported = subprocess.run([BIN / "antiphon-cloud", "export-codec", "--model", arguments.model, "--out", codec])
        if exported.returncode:
            raise SystemExit(exported.returncode)  # it has said why
        options = ["--random-weights"] if is_random else []
        with worker("--model", arguments.model, "--codec", codec, *options) as started:
            asyncio.run(demo(started.address, Codec.load(codec), arguments.input_wav, arguments.output_wav))


async def demo(address: str, codec: Codec, input_wav: Path, output_wav: Path) -> None:
    """One conversation through a counting relay."""
    spec = codec.spec
    heard_at: list[float] = []

    def on_reply(reply: Reply) -> None:
        heard_at.append(time.perf_counter())
        print(reply.text, end="", flush=True)

    print(f"{input_wav.name} →")
    async with (
        relay(address) as network,
        client.connect(network.address, spec, seed=1, timings=True) as session,
    ):
        with (
            WavReader(input_wav, spec.sample_rate_hz, spec.frame_samples) as reader,
            WavWriter(output_wav, spec.sample_rate_hz) as writer,
        ):
            said = with_silence(reader, spec.frame_samples, session.model.delay_steps)
            conversation = await talk(session, codec, paced(said, spec.frame_s), writer.write, on_reply)
        print(f"\n→ {output_wav}\n")
        report(conversation, network.traffic, heard_at)
        print(format_table(conversation.hops.table()))


def report(conversation: Conversation, traffic: Traffic, heard_at: list[float]) -> None:
    """Frames, text and bytes."""
    print(f"frames      {conversation.frames_up} up, {conversation.frames_down} down with audio")
    print(f"text        {conversation.text_tokens} tokens that carry text")
    if len(heard_at) <= SETTLED_FRAMES:
        return  # too short to speak of a rate
    begin_s, end_s = heard_at[SETTLED_FRAMES - 1], heard_at[-1]
    rates = ", ".join(f"{traffic.rate(way, begin_s, end_s):.0f} bytes/s {way}" for way in ("up", "down"))
    print(f"socket      {rates} (TCP payload, steady state)")


if __name__ == "__main__":
    try:
        main()
    except AntiphonError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("demo: interrupted")
