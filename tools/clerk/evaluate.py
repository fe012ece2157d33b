"""Evaluates the number clerk through edge codec, gRPC and worker, on voices that training never used.

    python -m tools.clerk.evaluate [--utterances 200]              # the packaged model as it is served, all in int8
    python -m tools.clerk.evaluate --model DIR [--quantize int8]   # a model of train.pack: floats, or int8 weights
    antiphon-cloud export-codec --model DIR --out CODEC --precision fp32
    python -m tools.clerk.evaluate --model DIR --codec CODEC       # the same with its codec in float32

Prints a row for each kind of scene as soon as it was played: right answers in text and in sound, delays, stops after an
interruption, and false starts without a digit. Delays are from the end of speech to the first sound of a right answer,
without the time of network and steps.

    make voices && python -m tools.clerk.train.voices.bank SETS --held-out
    python -m tools.clerk.evaluate --sets SETS                     # also natural voices, humans, echo, and the targets

With `--sets` come rows of natural voices that training never heard, of two humans, of what is no number, and of its own
voice in the microphone without a canceller; then a line for each target of `targets.py`. `--row` plays some rows only.

The voices are other variants of espeak-ng, a Scottish voice of flite, and a human's ten digits in many orders if
Debian's asterisk-core-sounds-en-wav is installed. They also say words of the radio alphabet, which the clerk should not
answer. If sound-theme-freedesktop is installed, its bells, alarms and telephones ring in conversations without speech.
espeak-ng and flite are required.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from antiphon.cli.output_file import output_file
from antiphon.errors import AntiphonError
from antiphon_edge import Codec
from antiphon_edge.audio.pcm import Pcm
from antiphon_number_clerk import NUMBER_CLERK
from tools.clerk.recognizer import DigitRecognizer
from tools.clerk.rows import ECHO_DELAY_MS, all_rows
from tools.clerk.scores import answers, echoes, false_starts, interruptions
from tools.clerk.targets import compared
from tools.clerk.train.data.clips import RATE
from tools.clerk.train.stage import positive
from tools.demo.conversation import Heard, converse_all
from tools.harness.worker_process import worker
from tools.talk.loop import converse_all as converse_in_rooms
from tools.talk.room import Echo


def main() -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NUMBER_CLERK, help="model directory (default: the number clerk)")
    parser.add_argument("--codec", type=Path, help="exported codec (default: the model's)")
    parser.add_argument("--quantize", choices=["none", "int8"], help="weights (default: as in the model)")
    parser.add_argument(
        "--utterances",
        type=positive,
        default=200,
        help="scenes of the first row; others have a quarter, or all recordings (default: %(default)s)",
    )
    parser.add_argument("--sets", type=Path, help="folder of natural voices: adds the rows of people, echo and targets")
    parser.add_argument("--row", action="append", help="play only rows whose name begins so; several times")
    parser.add_argument("--at-once", type=positive, default=4, help="concurrent conversations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20261125, help="seed of the scenes (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the table")
    arguments = parser.parse_args()
    try:
        with output_file(arguments.json) if arguments.json else nullcontext() as file:
            table = evaluate(arguments)
            if arguments.sets:
                print(*compared(table), sep="\n")
            if file:
                file.write(json.dumps(table, indent=1).encode() + b"\n")
    except AntiphonError as error:
        sys.exit(f"tools.clerk.evaluate: {error}")
    except KeyboardInterrupt:
        sys.exit("tools.clerk.evaluate: interrupted; a table is written at the end only")


def evaluate(arguments: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Plays all scenes to a new worker; returns a row of figures for each kind.

    Raises:
        AntiphonError: a model, a codec, a synthesizer or a voice is missing or unusable.
    """
    codec_folder = arguments.codec or arguments.model / "codec"
    codec, recognizer = Codec.load(codec_folder), DigitRecognizer()
    scenes = all_rows(arguments.utterances, arguments.seed, arguments.sets).only(arguments.row)
    options = ["--model", arguments.model, "--codec", codec_folder, "--slots", str(arguments.at_once)]
    options += ["--threads", "1", "--step-budget", "10000"]  # not in real time: slow steps do no harm
    options += ["--quantize", arguments.quantize] if arguments.quantize else []
    table: dict[str, dict[str, object]] = {}
    played_s, took_s = 0.0, 0.0

    def add(name: str, row: dict[str, object]) -> None:
        table[name] = row
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)

    with worker(*options) as started, asyncio.Runner() as loop:

        def play(tracks: list[Pcm]) -> list[Heard]:
            nonlocal played_s, took_s
            began_s = time.perf_counter()
            heard = loop.run(converse_all(started.address, codec, tracks, arguments.at_once))
            took_s += time.perf_counter() - began_s
            played_s += sum(len(track) for track in tracks) / RATE
            return heard

        for name, people in scenes.people.items():
            heard = play([scene.samples for scene in people])
            add(name, answers(people, heard, recognizer))
            kinds = sorted({scene.synthesizer for scene in people})
            for kind in kinds if len(kinds) > 1 else ():
                of_kind = [i for i, scene in enumerate(people) if scene.synthesizer == kind]
                row = answers([people[i] for i in of_kind], [heard[i] for i in of_kind], recognizer)
                add(f"{name}: {kind}", row)
        for name, barging in scenes.barging.items():
            add(name, interruptions(barging, play([scene.samples for scene in barging])))
        for name, tracks in scenes.unanswered.items():
            add(name, false_starts(play(tracks)))
        for name, (gain_db, people) in scenes.echoing.items():
            tracks, echo = [scene.samples for scene in people], Echo(gain_db, ECHO_DELAY_MS)
            replies = loop.run(converse_in_rooms(started.address, codec, tracks, echo, None, arguments.at_once))
            add(name, echoes(people, [reply for reply, _ in replies]))
    if took_s:
        pace = round(played_s / took_s / arguments.at_once, 2)
        add("speed", {"sessions at once": arguments.at_once, "times real time, each": pace})
    return table


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, and ends the worker
    main()
