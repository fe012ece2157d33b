"""How well the number clerk hears, answers, speaks and stops, through the real path: edge codec, gRPC, worker.

    python -m tools.clerk.evaluate [--utterances 200]              # the packaged model as it is served, all in int8
    python -m tools.clerk.evaluate --model DIR [--quantize int8]   # one that train.pack wrote: floats, or int8 weights
    antiphon-cloud export-codec --model DIR --out CODEC --precision fp32
    python -m tools.clerk.evaluate --model DIR --codec CODEC       # and its codec in floats, too

The people are voices that training never heard: other variants of espeak-ng, a Scot of flite's, and where Debian's
asterisk-core-sounds-en-wav is installed, a human's ten digits in many orders. All of them say other words, too, the
radio alphabet's, which nobody should answer. Where sound-theme-freedesktop is, its bells, alarms and telephones ring in
conversations in which nobody speaks. It needs espeak-ng and flite.
Times are those of a network and a step that take none: from the end of speech to the first sound of a right answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from antiphon.errors import AntiphonError
from antiphon.output_file import output_file
from antiphon_cloud.models import NUMBER_CLERK
from antiphon_edge import Codec
from antiphon_edge.audio.pcm import Pcm
from tools.clerk.recognizer import DigitRecognizer, Recognizer
from tools.clerk.train.clips import DIGITS, FRAME, PEAK, RATE, Clip, Word
from tools.clerk.train.other_words import ALPHABET
from tools.clerk.train.scenes import PAUSE_S, Track, bumps, noise, person, recorded
from tools.clerk.train.speech import make_bank
from tools.clerk.train.stage import positive
from tools.clerk.train.synthesizers import alone
from tools.demo.conversation import Heard, converse_all
from tools.harness.worker_process import worker

HUMAN = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
DESKTOP = Path("/usr/share/sounds/freedesktop/stereo")
LEAD_S = 1.6  # for the greeting
TAIL_S = 5.0  # for the answer
AUDIBLE = 0.01  # root mean square of 20 ms; speech has 0.05 to 0.2
STOPPED_S = 0.5
LONGEST_DIGIT_S = 0.72
GREETED_S = 1.2  # by when "ready" has been said


@dataclass(frozen=True)
class Turn:
    """What a person says in a scene."""

    start_s: float
    end_s: float
    digits: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """A person's whole track, and what speaks in it."""

    samples: Pcm
    turns: tuple[Turn, ...]
    synthesizer: str = ""


def turn_of(words: Sequence[Word], begin_s: float = 0.0) -> Turn:
    """Words of a track as a turn of the scene that begins at `begin_s`."""
    return Turn(words[0].start_s - begin_s, words[-1].end_s - begin_s, tuple(word.text for word in words))


def utterance(
    bank: Sequence[Clip], rng: np.random.Generator, hear: Callable[[Pcm], Pcm], other_words: Sequence[Clip] = ()
) -> Scene:
    """One turn of one to four digits, after other words if there are any."""
    begin, digits = int((LEAD_S + rng.uniform(0, 0.5)) * RATE), int(rng.integers(1, 5))
    words = other_words[int(rng.integers(len(other_words)))] if other_words else Clip("", np.zeros(0, np.float32), ())
    start = begin + len(words.samples) + (int(rng.uniform(0.05, PAUSE_S) * RATE) if other_words else 0)
    frames = start // FRAME + int((4 + TAIL_S) * RATE) // FRAME
    track = person(bank, frames, [(start, digits)], rng, voice=words.voice, as_recorded=True)
    track.add(words.samples, begin)
    end = int((track.words[-1].end_s + TAIL_S) * RATE)
    return Scene(hear(track.samples[: end - end % FRAME]), (turn_of(track.words),), track.voice.partition(" ")[0])


def interruption(bank: Sequence[Clip], rng: np.random.Generator, hear: Callable[[Pcm], Pcm]) -> Scene:
    """A turn, and another that starts in the middle of the answer to it."""
    frames = int((LEAD_S + 14) * RATE) // FRAME
    track = person(bank, frames, [(int(LEAD_S * RATE), int(rng.integers(2, 5)))], rng, as_recorded=True)
    first = turn_of(track.words)
    # The answer starts 0.6 s after the turn and would go on for more than STOPPED_S yet.
    start_s = first.end_s + 0.6 + rng.uniform(0.3, 0.4 * len(first.digits))
    second = person(bank, frames, [(int(start_s * RATE), int(rng.integers(1, 4)))], rng, as_recorded=True)
    end = int((second.words[-1].end_s + TAIL_S) * RATE)
    samples = hear((track.samples + second.samples)[: end - end % FRAME])
    return Scene(samples, (first, turn_of(second.words)))


def human_bank() -> list[Clip]:
    """The digits of a human speaker, or nothing where they are not installed."""
    return [human(path, DIGITS[int(path.stem)]) for path in sorted(HUMAN.glob("digits/[0-9].wav"))]


def human_words() -> list[Clip]:
    """The radio alphabet by a human speaker, a word each, or nothing where it is not installed."""
    return [human(path, path.stem) for path in sorted(HUMAN.glob("phonetic/[a-z]_p.wav"))]


def human(path: Path, word: str) -> Clip:
    """One word as it was recorded."""
    pcm, rate = soundfile.read(path, dtype="float32")
    return alone("human", word, pcm, rate)


def said_once(clip: Clip) -> Pcm:
    """Somebody who says a clip, and waits."""
    track = Track.silent((int((LEAD_S + TAIL_S) * RATE) + len(clip.samples)) // FRAME)
    track.add(clip.samples, int(LEAD_S * RATE))
    return track.samples


def desktop_tracks(length: int, rng: np.random.Generator) -> list[Pcm]:
    """Each sound of a desktop, over and over, once as loud as speech and once a quarter of it; speech is left out."""
    tracks = []
    for path in sorted(DESKTOP.glob("*.oga")):
        if path.is_symlink() or path.name.startswith("audio-channel"):
            continue  # another's sound, a woman's words
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sound = soxr.resample(channels.mean(1), rate, RATE)
        for peak in (PEAK, PEAK / 4):
            track, at = np.zeros(length, np.float32), int(LEAD_S * RATE)
            while at + len(sound) <= length - TAIL_S * RATE:
                track[at : at + len(sound)] = sound * (peak / np.abs(sound).max())
                at += len(sound) + int(rng.uniform(0.5, 2.5) * RATE)
            tracks.append(track)
    return tracks


def level(samples: Pcm) -> Pcm:
    """Root mean square of each 20 ms."""
    blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480)
    return np.asarray(np.sqrt((blocks**2).mean(1)), dtype=np.float32)


def first_audible_s(heard: Heard, after_s: float) -> float | None:
    """When the model is first audible after a moment."""
    loud = np.flatnonzero(level(heard.between(after_s, 1e6)) > AUDIBLE)
    return after_s + 0.02 * float(loud[0]) if len(loud) else None


def expected(turn: Turn) -> str:
    """The right answer."""
    return " ".join(("you said", *turn.digits))


def answers(scenes: Sequence[Scene], heard: Sequence[Heard], recognizer: Recognizer) -> dict[str, object]:
    """How many answers are right in text, and digit by digit in sound; and how long the right ones took."""
    exact, early, digits, understood, delays = 0, 0, 0, 0, []
    for scene, reply in zip(scenes, heard, strict=True):
        turn = scene.turns[0]
        early += level(reply.between(turn.start_s, turn.end_s)).max(initial=0) > AUDIBLE
        at = first_audible_s(reply, turn.end_s)
        if reply.text_between(turn.start_s, 1e6) == expected(turn):
            exact += 1
            if at is not None:
                delays.append(at - turn.end_s)
        spoken = [(at_s, word) for at_s, word in reply.words if word in DIGITS and at_s > turn.start_s]
        ends = [*(at_s for at_s, _ in spoken), 1e6][1:]
        names = [
            recognizer.digit(reply.between(at_s, min(end_s, at_s + LONGEST_DIGIT_S)), reply.sample_rate_hz)
            for (at_s, _), end_s in zip(spoken, ends, strict=True)
        ]
        digits += len(turn.digits)
        understood += sum(a == b for a, b in zip(names, turn.digits, strict=False))
    return {
        "utterances": len(scenes),
        "exact text %": percent(exact, len(scenes)),
        "digits understood from the sound %": percent(understood, digits),
        "spoke before the end %": percent(early, len(scenes)),
        "median delay s": round(float(np.median(delays)), 2) if delays else None,
        "p95 delay s": round(float(np.percentile(delays, 95)), 2) if delays else None,
    }


def interruptions(scenes: Sequence[Scene], heard: Sequence[Heard]) -> dict[str, object]:
    """How often the model stops in time, and how many second answers are right.

    The watch for sound ends before the answer to the interruption can begin.
    """
    talking, stopped, exact = 0, 0, 0
    for scene, reply in zip(scenes, heard, strict=True):
        onset_s, end_s = scene.turns[1].start_s, scene.turns[1].end_s
        if level(reply.between(onset_s - 0.4, onset_s)).max(initial=0) <= AUDIBLE:
            continue  # it was not talking: nothing to stop
        talking += 1
        until_s = max(end_s, onset_s + STOPPED_S + 0.1)
        stopped += level(reply.between(onset_s + STOPPED_S, until_s)).max(initial=0) <= AUDIBLE
        exact += reply.text_between(onset_s + STOPPED_S, 1e6) == expected(scene.turns[1])
    return {
        "interruptions": talking,
        "stopped within 0.5 s %": percent(stopped, talking),
        "exact second answers %": percent(exact, talking),
    }


def false_starts(heard: Sequence[Heard]) -> dict[str, object]:
    """Conversations in which nobody says a digit: how many have a word or a sound after the greeting."""
    wrong = sum(
        reply.text_between(GREETED_S, 1e6) != "" or level(reply.between(GREETED_S, 1e6)).max(initial=0) > AUDIBLE
        for reply in heard
    )
    greeted = sum(reply.text_between(0, GREETED_S) == "ready" for reply in heard)
    return {
        "conversations": len(heard),
        "false starts %": percent(wrong, len(heard)),
        "greeted %": percent(greeted, len(heard)),
    }


def percent(count: int, of: int) -> float:
    """To a tenth."""
    return round(100 * count / max(1, of), 1)


def rows(count: int, seed: int) -> tuple[dict[str, list[Scene]], list[Scene], dict[str, list[Pcm]]]:
    """All scenes, of which no row's depend on another's: people, interruptions, and tracks without a digit."""

    def drawn(row: int) -> np.random.Generator:
        return np.random.default_rng([seed, row])

    def clean(samples: Pcm) -> Pcm:
        return samples

    bank, human_digits, few = make_bank(400, seed, held_out=True), human_bank(), max(5, count // 4)
    other_words = make_bank(few, seed, ALPHABET, held_out=True)
    unseen, microphone, noisy, person_s, barging, hiss, hush, desk, beside = (drawn(row) for row in range(9))
    people = {
        "unseen voices": [utterance(bank, unseen, clean) for _ in range(count)],
        "unseen voices, microphone": [
            utterance(bank, noisy, lambda samples: recorded(samples, microphone)) for _ in range(few)
        ],
        "unseen voices, after other words": [utterance(bank, beside, clean, other_words) for _ in range(few)],
    }
    if human_digits:
        people["a human"] = [utterance(human_digits, person_s, clean) for _ in range(few)]
    else:
        print("a human: not installed; apt-get install asterisk-core-sounds-en-wav", file=sys.stderr)
    length = 20 * RATE
    unanswered: dict[str, list[Pcm]] = {"silence": [np.zeros(length, np.float32)], "noise": []}
    for _ in range(few // 5):
        unanswered["silence"].append(10 ** (-hush.uniform(60, 100) / 20) * noise(length, hush))
    for i in range(few):
        samples = 0.08 * 10 ** (-hiss.uniform(12, 45) / 20) * noise(length, hiss)
        unanswered["noise"].append(samples + bumps(length, hiss) if i % 2 else samples)
    unanswered["other words"] = [said_once(clip) for clip in other_words]
    if human_digits:
        unanswered["other words: a human"] = [said_once(clip) for clip in human_words()]
    if ringing := desktop_tracks(length, desk):
        unanswered["desktop sounds"] = ringing
    else:
        print("desktop sounds: not installed; apt-get install sound-theme-freedesktop", file=sys.stderr)
    return people, [interruption(bank, barging, clean) for _ in range(few)], unanswered


def main() -> None:
    """Prints the table, and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NUMBER_CLERK, help="model directory (default: the embedded one)")
    parser.add_argument("--codec", type=Path, help="exported codec (default: the model's)")
    parser.add_argument("--quantize", choices=["none", "int8"], help="weights (default: as the model holds them)")
    parser.add_argument(
        "--utterances",
        type=positive,
        default=200,
        help="of the first row; others have a quarter, or all recordings (default: %(default)s)",
    )
    parser.add_argument("--at-once", type=positive, default=4, help="conversations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20261125, help="of the scenes (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the table")
    arguments = parser.parse_args()
    try:
        with output_file(arguments.json) if arguments.json else nullcontext() as file:
            table = evaluate(arguments)
            for name, row in table.items():
                print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
            if file:
                file.write(json.dumps(table, indent=1).encode() + b"\n")
    except AntiphonError as error:
        sys.exit(f"tools.clerk.evaluate: {error}")
    except KeyboardInterrupt:
        sys.exit("tools.clerk.evaluate: interrupted; a table is written at the end only")


def evaluate(arguments: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Plays all scenes to a worker of its own; a row of figures for each kind.

    Raises:
        AntiphonError: a model, a codec or a synthesizer is missing or unusable.
    """
    codec_folder = arguments.codec or arguments.model / "codec"
    codec, recognizer = Codec.load(codec_folder), DigitRecognizer()
    people, barging, unanswered = rows(arguments.utterances, arguments.seed)
    options = ["--model", arguments.model, "--codec", codec_folder, "--slots", str(arguments.at_once)]
    options += ["--threads", "1", "--step-budget", "10000"]  # not in real time: a slow step only takes longer
    table: dict[str, dict[str, object]] = {}
    played_s, took_s = 0.0, 0.0
    options += ["--quantize", arguments.quantize] if arguments.quantize else []
    with worker(*options) as started, asyncio.Runner() as loop:

        def play(tracks: list[Pcm]) -> list[Heard]:
            nonlocal played_s, took_s
            began_s = time.perf_counter()
            heard = loop.run(converse_all(started.address, codec, tracks, arguments.at_once))
            took_s += time.perf_counter() - began_s
            played_s += sum(len(track) for track in tracks) / RATE
            return heard

        for name, scenes in people.items():
            heard = play([scene.samples for scene in scenes])
            table[name] = answers(scenes, heard, recognizer)
            kinds = sorted({scene.synthesizer for scene in scenes})
            for kind in kinds if len(kinds) > 1 else ():
                of_kind = [i for i, scene in enumerate(scenes) if scene.synthesizer == kind]
                table[f"{name}: {kind}"] = answers(
                    [scenes[i] for i in of_kind], [heard[i] for i in of_kind], recognizer
                )
        table["interrupted"] = interruptions(barging, play([scene.samples for scene in barging]))
        for name, tracks in unanswered.items():
            table[name] = false_starts(play(tracks))
    table["speed"] = {
        "sessions at once": arguments.at_once,
        "times real time, each": round(played_s / took_s / arguments.at_once, 2),
    }
    return table


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as by Ctrl-C, with its worker
    main()
