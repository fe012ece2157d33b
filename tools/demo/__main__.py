"""`make demo`: a conversation with the number clerk, with edge and worker on this machine, in real time.

    python -m tools.demo [--input-wav FILE] [--output-wav demo.wav] [--picture demo.png]

Plays a recorded person to the model and prints the words of both sides as they are spoken. Then prints the frames, the
bytes per second and the latency. Writes both sides as a wav file (person left, model right) and as a picture.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from antiphon.cli.output_file import output_file
from antiphon.codec_manifest import MANIFEST_FILE
from antiphon.errors import AntiphonError
from antiphon_edge import Codec, Reply, WavReader, WavWriter, connect
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.talk.conversation import Conversation, talk
from antiphon_edge.talk.latency import format_table
from antiphon_edge.talk.sources import paced, with_silence
from antiphon_number_clerk import NUMBER_CLERK
from tools.demo.conversation import Heard, Listener
from tools.demo.picture import Words, draw, picture_type
from tools.harness.relay import Traffic, relay
from tools.harness.worker_process import BIN, worker

PERSON = Path(__file__).with_name("conversation.flac")
SETTLED_FRAMES = 12  # the first second, which includes the handshake; steady state starts after it


@dataclass
class Transcript:
    """Prints both sides' words in order of time, with a new line whenever the speaker changes."""

    person: Words
    _last: str = ""
    _next: int = field(default=0)

    def clerk(self, at_s: float, word: str) -> None:
        """Prints a word of the model."""
        self._say("model", at_s, word)

    def until(self, at_s: float) -> None:
        """Prints the person's words that start by then."""
        while self._next < len(self.person) and self.person[self._next][0] <= at_s:
            self._say("person", *self.person[self._next])
            self._next += 1

    def _say(self, who: str, at_s: float, word: str) -> None:
        begin = f"\n{at_s:5.1f} s  {who:6} " if who != self._last else ""
        print(f"{begin} {word}", end="", flush=True)
        self._last = who


def main() -> None:
    """Serves the model, talks to it, prints the results, and writes sound and picture.

    Raises:
        AntiphonError: a file cannot be read or written (checked before the conversation), or the session ended early.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NUMBER_CLERK, help="model directory (default: the number clerk)")
    parser.add_argument("--input-wav", type=Path, default=PERSON, help="the person's side (default: %(default)s)")
    parser.add_argument("--output-wav", type=Path, default=Path("demo.wav"), help="both sides (default: %(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("demo.png"), help="both sides (default: %(default)s)")
    arguments = parser.parse_args()
    person = words_of(arguments.input_wav)
    kind = picture_type(arguments.picture)
    if arguments.output_wav.resolve() == arguments.input_wav.resolve():
        raise AntiphonError(f"{arguments.output_wav}: is the input; choose another --output-wav")
    with output_file(arguments.picture) as picture, tempfile.TemporaryDirectory() as temporary:
        folder: Path = arguments.model / "codec"
        if not (folder / MANIFEST_FILE).exists():
            folder = Path(temporary) / "codec"
            exported = subprocess.run(
                [BIN / "antiphon-cloud", "export-codec", "--model", arguments.model, "--out", folder]
            )
            if exported.returncode:
                raise SystemExit(exported.returncode)  # its standard error says why
        codec = Codec.load(folder)
        rate = codec.spec.sample_rate_hz
        with (
            WavReader(arguments.input_wav, rate, codec.spec.frame_samples) as reader,
            WavWriter(arguments.output_wav, rate, channels=2) as writer,
            worker("--model", arguments.model, "--codec", folder) as started,
        ):
            heard = asyncio.run(demo(started.address, codec, reader, person))
            said, replied = same_length(np.concatenate(list(reader)), heard.samples)
            writer.write(np.stack([said, replied], 1))
        draw(picture, kind, {"person": (said, person), "model": (replied, heard.words)}, rate)
    print(f"\n→ {arguments.output_wav} (person left, model right), {arguments.picture}")


def words_of(sound: Path) -> list[tuple[float, str]]:
    """The words in a sound file with their start times in s, from the JSON file beside it; empty without one.

    Raises:
        AntiphonError: the JSON file has no such words.
    """
    about = sound.with_suffix(".json")
    if not about.is_file():
        return []
    try:
        turns = msgspec.json.decode(about.read_bytes(), type=list[list[tuple[float, float, str]]])
    except (OSError, msgspec.DecodeError):
        raise AntiphonError(
            f"{about}: holds no turns of [start_s, end_s, word]; move it away, or name another --input-wav"
        ) from None
    return [(start_s, word) for turn in turns for start_s, _, word in turn]


async def demo(address: str, codec: Codec, reader: WavReader, person: Words) -> Heard:
    """Runs one conversation through a counting relay; prints both sides, the traffic and the latency."""
    spec = codec.spec
    heard_at: list[float] = []
    transcript = Transcript(person)
    async with (
        relay(address) as network,
        connect(network.address, spec, seed=1, timings=True) as session,
    ):
        listener = Listener(spec, session.model.delay_steps)

        def on_reply(reply: Reply) -> None:
            heard_at.append(time.perf_counter())
            transcript.until((reply.sequence + 1) * spec.frame_s)  # the reply's audio starts then
            count = len(listener.words)
            listener.on_reply(reply)
            for at_s, word in listener.words[count:]:
                transcript.clerk(at_s, word)

        said = with_silence(reader, spec.frame_samples, session.model.delay_steps)
        conversation = await talk(session, codec, paced(said, spec.frame_s), listener.on_audio, on_reply)
    transcript.until(math.inf)
    print("\n")
    report(conversation, network.traffic, heard_at)
    print(format_table(conversation.latency.table()))
    return listener.heard()


def same_length(*sides: Pcm) -> list[Pcm]:
    """Each side's samples, padded with silence to the longest, [n]."""
    length = max(map(len, sides))
    return [np.pad(side, (0, length - len(side))) for side in sides]


def report(conversation: Conversation, traffic: Traffic, heard_at: list[float]) -> None:
    """Prints frames, text and bytes."""
    print(f"frames      {conversation.frames_up} up, {conversation.frames_down} down with audio")
    print(f"text        {conversation.text_tokens} tokens that carry text")
    if len(heard_at) <= SETTLED_FRAMES:
        return  # too short for a rate
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
