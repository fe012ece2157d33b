"""Where the time goes between a mouth and an ear: a live conversation with a worker that says what it heard.

    python -m tools.talk.latency [--seconds 60] [--codec DIR]

Microphone and speaker are null sinks of a private PulseAudio; PortAudio, the edge, gRPC and the worker's service are
real, and the model takes no time. Bursts of a tone are said; each is found again where it leaves the mouth, in the
microphone's frames, in what is written to the speaker, and at the ear. Prints the milliseconds of each hop.

The overhead is the whole way less what belongs to the model and its codec: the frame that must be heard whole before
it can be coded, and the codec's own delay.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from antiphon_edge import Codec, Microphone, Speaker, connect
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.talk.conversation import Conversation, talk
from antiphon_number_clerk import NUMBER_CLERK
from tools.harness.worker_process import STUB, worker
from tools.talk.rig import RATE_HZ, Onsets, bursts, ear, pairs
from tools.talk.sound_server import sound_server

CLERK = NUMBER_CLERK / "codec"
SETTLE_S = 3.0  # the playout has learnt how late frames come


class Edge:
    """A conversation whose sound is looked at where it comes in and goes out."""

    def __init__(self) -> None:
        self.framed: list[tuple[float, float]] = []  # when a frame with a burst was there, and s from burst to its end
        self.written: list[tuple[float, float, float]] = []  # when a reply with a burst was written, s before it, level
        self._in, self._out = Onsets(), Onsets()

    async def hear(self, microphone: Microphone, seconds: float) -> AsyncIterator[Pcm]:
        """The microphone's frames, for so long."""
        end_s = time.monotonic() + seconds
        async for frame in microphone:
            now_s = time.monotonic()
            self.framed += [(now_s, (len(frame) - index) / RATE_HZ) for index in self._in.find(frame)]
            if now_s > end_s:
                return
            yield frame

    def say(self, speaker: Speaker, frame: Pcm) -> None:
        """Writes a reply."""
        level_s = speaker.stats.level_ms / 1e3
        self.written += [(time.monotonic(), index / RATE_HZ, level_s) for index in self._out.find(frame)]
        speaker.write(frame)

    async def run(self, address: str, folder: Path, seconds: float) -> dict[str, Any]:
        """Talks for so long; what was found, as JSON has it."""
        codec = Codec.load(folder, threads=1)
        conversation = Conversation()
        async with (
            Speaker(RATE_HZ) as speaker,
            Microphone(RATE_HZ, codec.spec.frame_samples) as microphone,
            connect(address, codec.spec, seed=0) as session,
        ):
            print("ready", flush=True)
            frames = self.hear(microphone, seconds)
            await talk(session, codec, frames, lambda pcm: self.say(speaker, pcm), live=True, conversation=conversation)
            stats = speaker.stats
            hops = conversation.latency
            return {
                "framed": self.framed,
                "written": self.written,
                "encode": float(np.median(hops.encode_ms)),
                "round trip": float(np.median(hops.round_trip_ms)),
                "decode": float(np.median(hops.decode_ms)),
                "target": stats.target_ms,
                "losses": f"{stats.underruns} underruns, {stats.late_frames} late frames, "
                f"{stats.dropped_samples} samples dropped, {speaker.underflows} underflows, "
                f"{microphone.overflows} overflows",
            }


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Of bursts, one a second.")
@click.option("--codec", type=click.Path(path_type=Path), default=CLERK, help="The number clerk's where absent.")
@click.option("--edge", metavar="ADDRESS", hidden=True, help="Be the edge of this worker.")
def main(seconds: float, codec: Path, edge: str | None) -> None:
    """Prints the latency of each hop."""
    if edge is not None:
        print(json.dumps(asyncio.run(Edge().run(edge, codec, seconds + 2))))
        return
    with (
        tempfile.TemporaryDirectory() as scratch,
        sound_server() as sound,
        ear(sound, "micbus") as said,
        ear(sound, "speaker") as heard,
        worker("--echo", codec, program=STUB) as serving,
    ):
        command = [sys.executable, "-m", "tools.talk.latency", "--edge", serving.address, "--codec", str(codec)]
        command += ["--seconds", str(seconds)]
        with subprocess.Popen(
            command, env=sound.child_env() | {"TMPDIR": scratch}, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            sound.say("micbus", bursts(seconds), RATE_HZ)
            found = json.loads(process.communicate(timeout=60)[0])
    print(table(found, said, heard))


def table(found: dict[str, Any], said: list[float], heard: list[float]) -> str:
    """The hops, in milliseconds: the median, and the time that 95 of 100 bursts stay below."""
    start_s = said[0] + SETTLE_S
    said = [at_s for at_s in said if at_s > start_s]
    framed = dict(found["framed"])
    written = {at_s: (index_s, level_s) for at_s, index_s, level_s in found["written"]}
    to_frame = [(frame_s - at_s - framed[frame_s]) * 1e3 for at_s, frame_s in pairs(said, list(framed))]
    to_ear = [(ear_s - at_s) * 1e3 for at_s, ear_s in pairs(said, heard)]
    from_write = [(ear_s - at_s - written[at_s][0]) * 1e3 for at_s, ear_s in pairs(list(written), heard)]
    waited = [written[at_s][1] * 1e3 for at_s, _ in pairs(list(written), heard)]
    turn = [(framed[at_s] + written[out_s][0]) * 1e3 for at_s, out_s in pairs(list(framed), list(written))]
    rows: list[tuple[str, list[float]]] = [
        ("microphone and its driver", to_frame),
        ("encode", [found["encode"]]),
        ("round trip", [found["round trip"]]),
        ("decode", [found["decode"]]),
        ("waiting in the playout", waited),
        ("speaker and its driver", [whole - wait for whole, wait in zip(from_write, waited, strict=True)]),
        ("frame and codec (the model's)", turn),
        ("mouth to ear", to_ear),
        ("overhead", [whole - float(np.median(turn)) for whole in to_ear]),
    ]
    lines = [f"{len(to_ear)} of {len(said)} bursts, target {found['target']:.0f} ms; {found['losses']}"]
    lines.append(f"{'ms':<32}{'p50':>8}{'p95':>8}")
    lines += [
        f"{name:<32}" + "".join(f"{value:8.1f}" for value in np.percentile(values, [50, 95])) for name, values in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
