"""What the evaluation of the number clerk counts, on conversations that nobody had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon_edge.audio.pcm import Pcm
from tools.clerk.scenes import LEAD_S, TAIL_S, Scene, Turn, desktop_tracks, human_words, said_once, utterance
from tools.clerk.scores import answers, false_starts, first_audible_s, interruptions
from tools.clerk.train.data.clips import Clip, Word
from tools.clerk.train.data.scenes import PAUSE_S
from tools.demo.conversation import Heard

RATE = 24_000
SECONDS = 8.0
FIRST = Turn(1.0, 2.0, ("one", "two"))
SECOND = Turn(3.0, 4.0, ("three",))
ANSWER = [(4.6, "you said"), (5.0, "three")]
INTERRUPTED = Scene(np.zeros(int(SECONDS * RATE), np.float32), (FIRST, SECOND))


def heard(*sounds: tuple[float, float], words: list[tuple[float, str]] | None = None, level: float = 0.1) -> Heard:
    """A reply that sounds from one moment to another, and else is silent."""
    samples = np.zeros(int(SECONDS * RATE), np.float32)
    for start_s, end_s in sounds:
        samples[int(start_s * RATE) : int(end_s * RATE)] = level
    return Heard(samples, words or [], RATE)


class Recognizer:
    """Hears the digits that it is told, one after the other."""

    def __init__(self, *digits: str) -> None:
        self._digits = iter(digits)
        self.lengths_s: list[float] = []

    def digit(self, samples: Pcm, sample_rate_hz: int) -> str:
        self.lengths_s.append(len(samples) / sample_rate_hz)
        return next(self._digits)


ASKED = Scene(np.zeros(int(SECONDS * RATE), np.float32), (FIRST,))
SAID = [(2.6, "you said"), (3.0, "one"), (3.4, "two")]


def test_an_answer_is_right_in_text_and_in_sound_and_has_a_delay() -> None:
    recognizer = Recognizer("one", "two")
    assert answers([ASKED], [heard((2.6, 4.0), words=SAID)], recognizer) == {
        "utterances": 1,
        "exact text %": 100.0,
        "digits understood from the sound %": 100.0,
        "spoke before the end %": 0.0,
        "median delay s": 0.6,
        "p95 delay s": 0.6,
    }
    assert recognizer.lengths_s == pytest.approx([0.4, 0.72])  # to the next digit, or the longest


def test_what_the_recognizer_hears_otherwise_is_not_understood() -> None:
    row = answers([ASKED], [heard((2.6, 4.0), words=SAID)], Recognizer("one", "seven"))
    assert (row["exact text %"], row["digits understood from the sound %"]) == (100.0, 50.0)


@pytest.mark.parametrize("words", [[], SAID[:2], [*SAID, (3.8, "two")], [(1.2, "ready"), *SAID]])
def test_an_answer_with_other_words_is_not_exact_and_has_no_delay(words: list[tuple[float, str]]) -> None:
    row = answers([ASKED], [heard((2.6, 4.0), words=words)], Recognizer("one", "two", "two"))
    assert (row["exact text %"], row["median delay s"]) == (0.0, None)


def test_a_digit_that_was_not_answered_was_not_understood() -> None:
    row = answers([ASKED], [heard((2.6, 4.0), words=SAID[:2])], Recognizer("one"))
    assert row["digits understood from the sound %"] == 50.0


def test_a_sound_over_the_person_is_too_early() -> None:
    row = answers([ASKED], [heard((1.5, 1.6), (2.6, 4.0), words=SAID)], Recognizer("one", "two"))
    assert row["spoke before the end %"] == 100.0


def counts(*replies: Heard) -> tuple[object, ...]:
    """Interruptions, stopped and exact, where all were interrupted in the same way."""
    return tuple(interruptions([INTERRUPTED] * len(replies), replies).values())


def test_a_reply_is_heard_when_it_is_first_loud() -> None:
    assert first_audible_s(heard((0.2, 0.6), (2.5, 3.0)), 2.0) == pytest.approx(2.5, abs=0.02)


@pytest.mark.parametrize("reply", [heard(), heard((0.2, 0.6)), heard((2.5, 3.0), level=0.005)])
def test_silence_whispers_and_what_was_before_are_not_heard(reply: Heard) -> None:
    assert first_audible_s(reply, 2.0) is None


def test_a_clerk_that_stops_and_answers_the_second_turn_has_done_all() -> None:
    assert counts(heard((2.5, 3.4), (4.6, 5.4), words=[(2.6, "you said"), *ANSWER])) == (1, 100.0, 100.0)


def test_a_clerk_that_talks_on_has_not_stopped() -> None:
    assert counts(heard((2.5, 8.0), words=ANSWER)) == (1, 0.0, 100.0)


def test_a_clerk_that_stops_too_late_has_not_stopped() -> None:
    assert counts(heard((2.5, 3.6), (4.6, 5.4), words=ANSWER)) == (1, 0.0, 100.0)


@pytest.mark.parametrize(
    "words",
    [
        [],
        [(4.6, "you said"), (5.0, "four")],
        [*ANSWER, (5.4, "three")],
        [(3.6, "one"), *ANSWER],  # it went on with the first answer
    ],
)
def test_another_answer_is_not_exact(words: list[tuple[float, str]]) -> None:
    assert counts(heard((2.5, 3.4), words=words)) == (1, 100.0, 0.0)


def test_a_clerk_that_did_not_talk_was_not_interrupted() -> None:
    assert counts(heard((1.0, 2.5), (4.6, 5.4), words=ANSWER)) == (0, 0.0, 0.0)


def test_each_of_the_interrupted_counts_alike() -> None:
    stops = heard((2.5, 3.4), words=ANSWER)
    talks_on = heard((2.5, 8.0))
    assert counts(stops, talks_on, talks_on, heard()) == (3, 33.3, 33.3)


def test_a_short_interruption_has_half_a_second_too() -> None:
    word = Scene(INTERRUPTED.samples, (FIRST, Turn(3.0, 3.2, ("three",))))
    row = interruptions([word], [heard((2.5, 3.6), words=ANSWER)])
    assert row["stopped within 0.5 s %"] == 0.0


def test_words_to_nobody_are_false_starts() -> None:
    greeting = (0.4, "ready")
    replies = [
        heard(words=[greeting]),
        heard(words=[greeting, (9.0, "you said"), (9.4, "one")]),
        heard(words=[]),
        heard(words=[greeting]),
    ]
    assert false_starts(replies) == {"conversations": 4, "false starts %": 25.0, "greeted %": 75.0}


def test_a_sound_without_a_word_is_a_false_start_too() -> None:
    greeting = (0.4, "ready")
    replies = [heard((0.4, 0.9), words=[greeting]), heard((0.4, 0.9), (5.0, 5.5), words=[greeting])]
    assert false_starts(replies) == {"conversations": 2, "false starts %": 50.0, "greeted %": 100.0}


def test_other_words_begin_after_the_greeting_and_leave_time_for_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.clerk.scenes.HUMAN", tmp_path)
    assert human_words() == []  # not installed
    (tmp_path / "phonetic").mkdir()
    for name in ("a", "9"):
        soundfile.write(tmp_path / f"phonetic/{name}_p.wav", np.sin(np.arange(8000) / 3), 8000)
    (word,) = human_words()  # nine is a digit
    track = said_once(word)
    assert len(track) % 1920 == 0
    sounding = np.flatnonzero(np.abs(track) > 0.1) / RATE
    assert sounding[0] == pytest.approx(LEAD_S, abs=0.01)
    assert sounding[-1] == pytest.approx(LEAD_S + 1, abs=0.01)
    assert len(track) / RATE - sounding[-1] == pytest.approx(TAIL_S, abs=0.1)


def test_other_words_are_said_before_a_turn_in_its_voice() -> None:
    bank = [Clip(f"voice {i}", np.full(RATE // 2, i / 10, np.float32), (Word("one", 0.0, 0.5),)) for i in range(1, 6)]
    for seed in range(10):
        scene = utterance(bank, np.random.default_rng(seed), lambda samples: samples, bank)
        (turn,) = scene.turns
        assert set(turn.digits) == {"one"}
        sounding = np.flatnonzero(scene.samples) / RATE
        assert LEAD_S <= sounding[0] < LEAD_S + 0.5 < turn.start_s
        assert 0.5 < turn.start_s - sounding[0] <= 0.5 + PAUSE_S
        assert len(scene.samples) / RATE - turn.end_s == pytest.approx(TAIL_S, abs=0.1)
        words = scene.samples[int(sounding[0] * RATE) + 10]
        assert scene.samples[int((turn.start_s + 0.3) * RATE)] == words


def test_each_desktop_sound_rings_loud_and_soft_and_none_that_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.clerk.scenes.DESKTOP", tmp_path)
    for name in ("bell", "audio-channel-front-left"):
        tone = np.sin(np.arange(48_000 // 2) / 10)
        soundfile.write(tmp_path / f"{name}.oga", np.column_stack([tone, tone]), 48_000, format="OGG")
    (tmp_path / "dialog-error.oga").symlink_to("bell.oga")
    loud, soft = desktop_tracks(20 * RATE, np.random.default_rng(0))
    assert [np.abs(track).max() for track in (loud, soft)] == pytest.approx([0.5, 0.125])
    for track in (loud, soft):
        assert len(track) == 20 * RATE
        sounding = np.flatnonzero(track) / RATE
        assert sounding[0] == pytest.approx(LEAD_S, abs=0.01)  # after the greeting
        assert sounding[-1] < 20 - TAIL_S  # an answer to the last one is heard
        assert np.count_nonzero(np.diff(sounding) > 0.4) >= 3  # rings


def test_no_sounds_are_no_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.clerk.scenes.DESKTOP", tmp_path)
    assert desktop_tracks(20 * RATE, np.random.default_rng(0)) == []
