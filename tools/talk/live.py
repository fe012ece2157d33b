"""Talks live through a loudspeaker that the microphone hears: what a canceller does where clocks and drivers are real.

    python -m tools.talk.live [--utterances 20] [--gain-db 0] [--no-echo] [-- TALK-OPTION...]

`antiphon-edge talk` and the number clerk run as a person runs them, between null sinks of a private PulseAudio, whose
loopback brings what the speaker plays back to the microphone. People of the test set speak one after the other.
Prints how many got the right answer and nothing else, in how many turns the model answered itself, what the edge says
of its losses, and its share of a core. Options after `--` go to `talk`: `--no-aec` for no canceller.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import click

from antiphon_number_clerk import NUMBER_CLERK
from tools.clerk.scenes import Scene
from tools.clerk.scores import expected
from tools.harness.worker_process import BIN, worker
from tools.talk.echo import people
from tools.talk.rig import RATE_HZ
from tools.talk.soak import Edge
from tools.talk.sound_server import SoundServer, sound_server

ECHO_DELAY_MS = 60
LATER_S = 2.0  # after a person's track, in which the answer is over


@dataclass
class Turns:
    """What was answered to whom."""

    exact: int = 0
    itself: int = 0
    texts: list[str] = field(default_factory=list)

    def add(self, scene: Scene, text: str) -> None:
        """Counts the answer `text` to the first turn of `scene`."""
        right = expected(scene.turns[0])
        self.exact += text == right
        self.itself += text.split().count("said") > 1
        self.texts.append(f"{right!r}: {text!r}")


def loop_back(sound: SoundServer, gain_db: float) -> None:
    """Brings what the speaker plays to the microphone, `gain_db` louder."""
    loopback = [
        "module-loopback",
        "source=speaker.monitor",
        "sink=micbus",
        f"latency_msec={ECHO_DELAY_MS}",
        "adjust_time=0",
    ]
    sound.control("load-module", *loopback)
    number = sound.control("list", "short", "sink-inputs").split()[0]
    sound.control("set-sink-input-volume", number, f"{gain_db}dB")


@click.command()
@click.option("--utterances", default=20, show_default=True)
@click.option("--gain-db", default=0.0, show_default=True, help="Of the echo.")
@click.option("--no-echo", is_flag=True, help="The microphone does not hear the speaker.")
@click.argument("talk_options", nargs=-1)
def main(utterances: int, gain_db: float, no_echo: bool, talk_options: tuple[str, ...]) -> None:
    """Prints what came of it."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        sound = stack.enter_context(sound_server())
        if not no_echo:
            loop_back(sound, gain_db)
        serving = stack.enter_context(worker("--model", NUMBER_CLERK, "--threads", "1", "--slots", "1"))
        command = [BIN / "antiphon-edge", "talk", "--server", serving.address, "--codec", NUMBER_CLERK / "codec"]
        process = stack.enter_context(
            subprocess.Popen(
                [*map(str, command), "--json-lines", *talk_options],
                env=sound.child_env() | {"TMPDIR": scratch},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        edge = stack.enter_context(Edge(process).following())
        turns = Turns()
        start_s, cpu_s = time.monotonic(), edge.cpu_s
        for scene in people(utterances):
            edge.take_text()
            sound.say("micbus", scene.samples, RATE_HZ)
            time.sleep(LATER_S)
            turns.add(scene, edge.take_text())
            print(turns.texts[-1], flush=True)
        share = (edge.cpu_s - cpu_s) / (time.monotonic() - start_s)
        print(f"{turns.exact} of {utterances} exact, {turns.itself} in which it answered itself")
        print(f"{share:.1%} of a core; lost: {edge.take_lost()}")


if __name__ == "__main__":
    sys.exit(main())
