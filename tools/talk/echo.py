"""Measures what an echo does to a conversation, with and without a canceller, in a simulated room.

    python -m tools.talk.echo [--utterances 20] [--room NAME]... [--cancelled] [--json FILE]

The number clerk hears people of the test set through a microphone beside its own loudspeaker. For each room a row with
the canceller and one without: exact answers; conversations in which it answers itself; right second answers after an
interruption, and stops within 0.6 s; and by how many dB the echo is softer for the model while nobody speaks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from antiphon.cli.output_file import output_file
from antiphon.errors import AntiphonError
from antiphon_edge import Codec
from antiphon_edge.audio.echo.processor import VoiceProcessing
from antiphon_edge.audio.pcm import Pcm
from antiphon_number_clerk import NUMBER_CLERK
from tools.clerk.scenes import Scene, Turn, turn_of
from tools.clerk.scores import AUDIBLE, expected, level
from tools.clerk.train.data.clips import Word
from tools.clerk.train.data.examples import PERIOD_S, TEST
from tools.clerk.train.stage import positive
from tools.demo.conversation import Heard
from tools.harness.worker_process import worker
from tools.talk.loop import FRAME, Sounds, converse_all
from tools.talk.room import RATE, Echo

AT_ONCE = 4
INTERRUPTED_S = 1.0  # after the end of speech: amid the answer, which begins after 0.6 s
STOPPED_S = 0.6
TAIL_S = 6.0
GREETED_S = 1.2

ROOMS = (
    Echo(None),
    *(Echo(gain_db) for gain_db in (6, 0, -6, -12, -20, -30, -40)),
    *(Echo(0, delay_ms) for delay_ms in (140, 230)),
    *(Echo(gain_db, drive=drive) for gain_db in (0, -12) for drive in (2, 4)),
    Echo(0, noise_dbfs=-55),
    *(Echo(0, skew_ppm=skew_ppm) for skew_ppm in (100, -300)),
)


@dataclass(frozen=True)
class Score:
    """What came of some conversations."""

    conversations: int
    exact: int
    """The answer was right, and nothing else was said."""
    itself: int
    """It answered more often than it was spoken to."""
    enhancement_db: float | None
    """Median over those in which an echo could be told."""


@dataclass(frozen=True)
class Interruptions:
    """What came of interruptions while it talked."""

    conversations: int
    stopped: int
    exact: int


def people(count: int) -> list[Scene]:
    """The utterances of the test set, each in a conversation of its own."""
    samples, rate = soundfile.read(TEST.with_suffix(".flac"), dtype="float32")
    length = int(PERIOD_S * rate) // FRAME * FRAME
    said = json.loads(TEST.with_suffix(".json").read_text())[:count]
    return [
        Scene(
            samples[number * length : (number + 1) * length],
            (turn_of([Word(text, start, end) for start, end, text in words], number * length / rate),),
        )
        for number, words in enumerate(said)
    ]


def interrupting(scenes: Sequence[Scene]) -> list[Scene]:
    """Each person, and another one amid the answer."""
    made = []
    for number, scene in enumerate(scenes):
        first, other = scene.turns[0], scenes[(number + 7) % len(scenes)]
        second = other.turns[0]
        start_s = first.end_s + INTERRUPTED_S
        track = np.zeros(int((start_s + second.end_s - second.start_s + TAIL_S) * RATE) // FRAME * FRAME, np.float32)
        kept = int((first.end_s + 0.2) * RATE)
        track[:kept] = scene.samples[:kept]
        cut = other.samples[int((second.start_s - 0.1) * RATE) : int((second.end_s + 0.2) * RATE)]
        at = int((start_s - 0.1) * RATE)
        track[at : at + len(cut)] += cut
        made.append(Scene(track, (first, Turn(start_s, start_s + second.end_s - second.start_s, second.digits))))
    return made


def score(scenes: Sequence[Scene], heard: Sequence[tuple[Heard, Sounds]]) -> Score:
    """Of conversations with one turn."""
    exact = itself = 0
    enhancements = []
    for scene, (reply, sounds) in zip(scenes, heard, strict=True):
        turn = scene.turns[0]
        exact += reply.text_between(turn.start_s, 1e6) == expected(turn)
        itself += sum(word == "said" for _, word in reply.words) > 1
        alone = slice(int((turn.end_s + 0.3) * RATE), None)
        single = Sounds(sounds.person[alone], sounds.echo[alone], sounds.near[alone])
        if (single.echo**2).mean() > 1e-9:
            enhancements.append(single.enhancement_db())
    return Score(len(scenes), exact, itself, round(float(np.median(enhancements)), 1) if enhancements else None)


def score_interruptions(scenes: Sequence[Scene], heard: Sequence[tuple[Heard, Sounds]]) -> Interruptions:
    """Of conversations with a second turn, those in which it was talking."""
    talking = stopped = exact = 0
    for scene, (reply, _) in zip(scenes, heard, strict=True):
        second = scene.turns[1]
        if level(reply.between(second.start_s - 0.4, second.start_s)).max(initial=0) <= AUDIBLE:
            continue
        talking += 1
        until_s = max(second.end_s, second.start_s + STOPPED_S + 0.1)
        stopped += bool(level(reply.between(second.start_s + STOPPED_S, until_s)).max(initial=0) <= AUDIBLE)
        exact += reply.text_between(second.start_s + STOPPED_S, 1e6) == expected(second)
    return Interruptions(talking, stopped, exact)


async def measure(address: str, count: int, echo: Echo, processing: VoiceProcessing | None) -> dict[str, object]:
    """A row of the table."""
    codec, scenes = Codec.load(NUMBER_CLERK / "codec"), people(count)
    barging = interrupting(scenes)

    def tracks(some: Sequence[Scene]) -> list[Pcm]:
        return [scene.samples for scene in some]

    quiet = score(scenes, await converse_all(address, codec, tracks(scenes), echo, processing, AT_ONCE))
    barged = score_interruptions(
        barging, await converse_all(address, codec, tracks(barging), echo, processing, AT_ONCE)
    )
    return {
        "exact": f"{quiet.exact} of {quiet.conversations}",
        "answers itself": quiet.itself,
        "second answer": f"{barged.exact} of {barged.conversations}",
        "stops": f"{barged.stopped} of {barged.conversations}",
        "dB less echo": quiet.enhancement_db if processing is not None else None,
    }


def main() -> None:
    """Prints the table, and writes it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=positive, default=20, help="people in each row (default: %(default)s)")
    parser.add_argument(
        "--room", action="append", choices=[str(echo) for echo in ROOMS], help="this one; several times"
    )
    parser.add_argument("--cancelled", action="store_true", help="no rows without a canceller")
    parser.add_argument("--no-ns", action="store_true", help="without noise suppression")
    parser.add_argument("--json", type=Path, help="file for the table")
    arguments = parser.parse_args()
    options: list[str | Path] = [
        "--model",
        NUMBER_CLERK,
        "--slots",
        str(AT_ONCE),
        "--threads",
        "1",
        "--step-budget",
        "10000",
    ]
    processing = VoiceProcessing(noise_suppression=not arguments.no_ns)
    rows: dict[str, dict[str, object]] = {}
    try:
        with (
            output_file(arguments.json) if arguments.json else nullcontext() as file,
            worker(*options) as started,
            asyncio.Runner() as loop,
        ):
            for echo in ROOMS:
                if arguments.room and str(echo) not in arguments.room:
                    continue
                both = ((str(echo), processing), (f"{echo}, no canceller", None))
                for name, done in both[: 1 if arguments.cancelled else 2]:
                    rows[name] = loop.run(measure(started.address, arguments.utterances, echo, done))
                    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in rows[name].items()), flush=True)
            if file:
                file.write(json.dumps(rows, indent=1).encode() + b"\n")
    except AntiphonError as error:
        sys.exit(f"tools.talk.echo: {error}")
    except KeyboardInterrupt:
        sys.exit("tools.talk.echo: interrupted; a file is written at the end only")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, and ends the worker
    main()
