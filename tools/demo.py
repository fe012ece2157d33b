"""`make demo`: a conversation with the embedded model through a whole Antiphon on this machine, in real time.

It plays a person, prints what both sides say when they say it, and writes both as sound (person left, model right) and
as a picture; then what it cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from antiphon.codec_manifest import MANIFEST_FILE
from antiphon.errors import AntiphonError
from antiphon_cloud.models import NUMBER_CLERK
from antiphon_edge import client
from antiphon_edge.client import Reply
from antiphon_edge.codec import Codec
from antiphon_edge.hops import format_table
from antiphon_edge.pcm import Pcm
from antiphon_edge.talk import Conversation, paced, talk, with_silence
from antiphon_edge.wav import WavReader, WavWriter
from conversation import Heard, Listener
from picture import Words, draw
from relay import Traffic, relay
from worker_process import BIN, worker

PERSON = Path(__file__).parent / "demo/conversation.flac"
SETTLED_FRAMES = 12  # the first second holds the handshake; steady state starts after it


@dataclass
class Transcript:
    """Prints both sides' words in the order of time, a line for each time that somebody takes the floor."""

    person: list[tuple[float, str]]
    _last: str = ""
    _next: int = field(default=0)

    def clerk(self, at_s: float, word: str) -> None:
        """A word of the model."""
        self._say("model", at_s, word)

    def until(self, at_s: float) -> None:
        """Prints what the person has begun to say by then."""
        while self._next < len(self.person) and self.person[self._next][0] <= at_s:
            self._say("person", *self.person[self._next])
            self._next += 1

    def _say(self, who: str, at_s: float, word: str) -> None:
        begin = f"\n{at_s:5.1f} s  {who:6} " if who != self._last else ""
        print(f"{begin} {word}", end="", flush=True)
        self._last = who


def main() -> None:
    """Serves the model, talks to it, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NUMBER_CLERK, help="model directory (default: the embedded one)")
    parser.add_argument("--input-wav", type=Path, default=PERSON, help="what is said (default: %(default)s)")
    parser.add_argument("--output-wav", type=Path, default=Path("demo.wav"), help="both sides (default: %(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("demo.png"), help="of both sides (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        codec: Path = arguments.model / "codec"
        if not (codec / MANIFEST_FILE).exists():
            codec = Path(temporary) / "codec"
            exported = subprocess.run(
                [BIN / "antiphon-cloud", "export-codec", "--model", arguments.model, "--out", codec]
            )
            if exported.returncode:
                raise SystemExit(exported.returncode)  # it has said why
        with worker("--model", arguments.model, "--codec", codec) as started:
            asyncio.run(
                demo(
                    started.address,
                    Codec.load(codec),
                    arguments.input_wav,
                    arguments.output_wav,
                    arguments.picture,
                )
            )


def words_of(sound: Path) -> list[tuple[float, str]]:
    """When each word in the file starts, in s, and the word; of the JSON file beside it, where there is one."""
    about = sound.with_suffix(".json")
    if not about.exists():
        return []
    return [(start_s, word) for turn in json.loads(about.read_text()) for start_s, _, word in turn]


async def demo(address: str, codec: Codec, input_wav: Path, output_wav: Path, picture: Path) -> None:
    """One conversation through a counting relay."""
    spec = codec.spec
    heard_at: list[float] = []
    person = words_of(input_wav)
    transcript = Transcript(person)
    async with (
        relay(address) as network,
        client.connect(network.address, spec, seed=1, timings=True) as session,
    ):
        listener = Listener(spec, session.model.delay_steps)

        def on_reply(reply: Reply) -> None:
            heard_at.append(time.perf_counter())
            transcript.until((reply.sequence + 1) * spec.frame_s)  # what a reply says is heard from then on
            count = len(listener.words)
            listener.on_reply(reply)
            for at_s, word in listener.words[count:]:
                transcript.clerk(at_s, word)

        with WavReader(input_wav, spec.sample_rate_hz, spec.frame_samples) as reader:
            said = with_silence(reader, spec.frame_samples, session.model.delay_steps)
            conversation = await talk(session, codec, paced(said, spec.frame_s), listener.on_audio, on_reply)
            keep(listener.heard(), np.concatenate(list(reader)), person, output_wav, picture)
    transcript.until(math.inf)
    print(f"\n\n→ {output_wav} (person left, model right), {picture}\n")
    report(conversation, network.traffic, heard_at)
    print(format_table(conversation.hops.table()))


def keep(heard: Heard, said: Pcm, person: Words, output_wav: Path, picture: Path) -> None:
    """Writes both sides as stereo sound and as a picture."""
    length = max(len(heard.samples), len(said))
    left, right = (np.pad(side, (0, length - len(side))) for side in (said, heard.samples))
    with WavWriter(output_wav, heard.sample_rate_hz, channels=2) as writer:
        writer.write(np.stack([left, right], 1))
    draw(picture, {"person": (left, person), "model": (right, heard.words)}, heard.sample_rate_hz)


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
