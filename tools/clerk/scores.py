"""Scores of the evaluation: right answers, stops after interruptions, false starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from tools.clerk.recognizer import Recognizer
from tools.clerk.scenes import Scene, Turn
from tools.clerk.train.data.clips import DIGITS
from tools.demo.conversation import Heard

AUDIBLE = 0.01  # root mean square of 20 ms; speech has 0.05 to 0.2
STOPPED_S = 0.5
LONGEST_DIGIT_S = 0.72
GREETED_S = 1.2  # end of the greeting "ready"


def level(samples: Pcm) -> Pcm:
    """Root mean square of every 20 ms."""
    blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480)
    return np.asarray(np.sqrt((blocks**2).mean(1)), dtype=np.float32)


def first_audible_s(heard: Heard, after_s: float) -> float | None:
    """When the model is first audible after `after_s`; None if never."""
    loud = np.flatnonzero(level(heard.between(after_s, 1e6)) > AUDIBLE)
    return after_s + 0.02 * float(loud[0]) if len(loud) else None


def expected(turn: Turn) -> str:
    """The right answer."""
    return " ".join(("you said", *turn.digits))


def answers(scenes: Sequence[Scene], heard: Sequence[Heard], recognizer: Recognizer) -> dict[str, object]:
    """The shares of answers right in text and of digits right in sound, and the delays of right answers."""
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

    The check for sound ends before the answer to the interruption can begin.
    """
    talking, stopped, exact = 0, 0, 0
    for scene, reply in zip(scenes, heard, strict=True):
        onset_s, end_s = scene.turns[1].start_s, scene.turns[1].end_s
        if level(reply.between(onset_s - 0.4, onset_s)).max(initial=0) <= AUDIBLE:
            continue  # it was not talking
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
    """The share of conversations without digits that have a word or a sound after the greeting."""
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


def echoes(scenes: Sequence[Scene], heard: Sequence[Heard]) -> dict[str, object]:
    """How often it answers what it says itself, in conversations of one turn each, and how many answers are right."""
    exact = itself = 0
    for scene, reply in zip(scenes, heard, strict=True):
        exact += reply.text_between(scene.turns[0].start_s, 1e6) == expected(scene.turns[0])
        itself += sum(word == "said" for _, word in reply.words) > 1
    return {
        "utterances": len(scenes),
        "exact text %": percent(exact, len(scenes)),
        "answers itself %": percent(itself, len(scenes)),
    }


def percent(count: int, of: int) -> float:
    """A percentage, rounded to a tenth."""
    return round(100 * count / max(1, of), 1)
