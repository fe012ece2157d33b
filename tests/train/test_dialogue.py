from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.support.clips import tones
from tools.clerk.train.data.clips import DIGITS, FRAME, RATE, Clip, Word
from tools.clerk.train.data.crowd import Crowd
from tools.clerk.train.data.dialogue import (
    APART_S,
    GREETING,
    LATE,
    REPLY,
    STOP,
    Dialogue,
    Reply,
    make,
    own_track,
    say,
    spelled,
)
from tools.clerk.train.data.scenes import PAUSE_S, SPEEDS, Track

FRAMES = 200
LENGTHS = {"ready": 6, "you said": 8} | dict.fromkeys(DIGITS, 5)
LATEST = len(LATE) - 1


def conversation(seed: int, sounds: float = 0.0, other_words: Sequence[Clip] = ()) -> Dialogue:
    rng = np.random.default_rng(seed)
    return make([Crowd(tones(), other_words)], LENGTHS, FRAMES, rng, clean=True, sounds=sounds)


def frame(at_s: float) -> int:
    return int(at_s * RATE) // FRAME


@pytest.fixture(scope="module")
def conversations() -> list[Dialogue]:
    return [conversation(seed) for seed in range(60)]


@pytest.fixture
def hello() -> list[Clip]:
    """Half a second of what is no digit."""
    return [Clip("somebody", np.full(RATE // 2, 0.1, np.float32), (Word("hello", 0.0, 0.5),))]


@pytest.fixture
def on_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clerk that is never late."""
    monkeypatch.setattr("tools.clerk.train.data.dialogue.late", lambda rng: 0)


def end_of(dialogue: Dialogue, i: int) -> int:
    """The frame after the last unit of reply i, if nobody interrupts."""
    reply = dialogue.replies[i]
    return reply.start + sum(LENGTHS[unit] for unit in reply.units)


def test_the_clerk_greets(conversations: list[Dialogue]) -> None:
    for dialogue in conversations:
        assert (dialogue.replies[0].start, dialogue.replies[0].units) == (GREETING, ["ready"])


def test_every_turn_is_answered_with_its_digits(conversations: list[Dialogue]) -> None:
    for dialogue in conversations:
        answers = [reply.units for reply in dialogue.replies[1:]]
        assert answers == [["you said", *digits] for _, _, digits in dialogue.turns]
        assert [word.text for word in dialogue.words] == [digit for *_, digits in dialogue.turns for digit in digits]


@pytest.mark.usefixtures("on_time")
def test_an_answer_starts_its_frames_after_the_end_of_the_turn() -> None:
    for seed in range(20):
        dialogue = conversation(seed)
        for reply, (_, end_s, _) in zip(dialogue.replies[1:], dialogue.turns, strict=True):
            assert reply.start == frame(end_s) + REPLY


@pytest.mark.usefixtures("on_time")
def test_a_turn_that_starts_while_the_clerk_talks_ends_what_it_says() -> None:
    interrupted = 0
    for seed in range(40):
        dialogue = conversation(seed)
        for i, (start_s, *_) in enumerate(dialogue.turns):
            stop, reply = frame(start_s) + STOP, dialogue.replies[i]
            if stop < end_of(dialogue, i):
                interrupted += 1
                assert reply.end == max(stop, reply.start)
            else:
                assert reply.end == FRAMES
    assert interrupted > 10


def test_the_clerk_is_late_now_and_then_and_never_early(conversations: list[Dialogue]) -> None:
    late = [
        reply.start - frame(end_s) - REPLY
        for dialogue in conversations
        for reply, (_, end_s, _) in zip(dialogue.replies[1:], dialogue.turns, strict=True)
    ]
    assert set(late) == set(range(LATEST + 1))
    assert late.count(0) > len(late) / 2


def test_some_conversations_are_silence_after_the_greeting(conversations: list[Dialogue]) -> None:
    silent = [dialogue for dialogue in conversations if not dialogue.turns]
    assert silent
    for dialogue in silent:
        assert len(dialogue.replies) == 1
        assert dialogue.replies[0].end == FRAMES
        assert not dialogue.words
        assert not dialogue.samples.any()


def sounding(dialogue: Dialogue, start_s: float, end_s: float) -> float:
    """The part of the samples between two moments that are not nothing; all after the end are."""
    samples = np.pad(dialogue.samples, (0, 4 * RATE), constant_values=1)
    part = samples[int(start_s * RATE) : int(end_s * RATE)]
    return float(np.count_nonzero(part)) / max(1, len(part))


@pytest.mark.usefixtures("on_time")
def test_other_words_have_no_answer_but_end_what_the_clerk_says(
    hello: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tools.clerk.train.data.dialogue.TURNS", {("digits",): 0.6, ("other",): 0.3, ("other", "digits"): 0.1}
    )
    alone, interrupted, twice = 0, 0, 0
    for seed in range(300):
        dialogue = conversation(seed, other_words=hello)
        i, stopped = 0, FRAMES  # the reply of the last digits, and when a turn stopped it
        for start_s, end_s, digits in dialogue.turns:
            reply, whole = dialogue.replies[i], end_of(dialogue, i)
            stop = max(frame(start_s) + STOP, reply.start)
            if stop < min(whole, stopped):
                stopped = stop
                interrupted += not digits
            elif stopped <= stop < whole:
                twice += 1
            assert min(reply.end, whole) == min(stopped, whole)
            if digits:
                i, stopped = i + 1, FRAMES
                reply = dialogue.replies[i]
                assert (reply.start, reply.units) == (frame(end_s) + REPLY, ["you said", *digits])
            else:
                alone += 1
                assert sounding(dialogue, start_s, end_s) > 0.99
        assert i == len(dialogue.replies) - 1
    assert alone > 50
    assert interrupted > 10
    assert twice > 3


def test_words_beside_digits_are_not_repeated_but_the_answer_waits_for_them(hello: list[Clip]) -> None:
    before, after = 0, 0
    longest_s = 0.5 / SPEEDS[0] + PAUSE_S + 0.01
    for seed in range(60):
        dialogue = conversation(seed, other_words=hello)
        assert {word.text for word in dialogue.words} <= set(DIGITS)
        for start_s, end_s, digits in dialogue.turns:
            words = [word for word in dialogue.words if start_s - 1e-3 < word.start_s < end_s]
            assert [word.text for word in words] == digits
            if digits:
                lead_s, tail_s = words[0].start_s - start_s, end_s - words[-1].end_s
                assert max(lead_s, tail_s) < longest_s
                if lead_s > 0.3:
                    before += 1
                    assert sounding(dialogue, start_s, start_s + 0.4) > 0.99
                if tail_s > 0.3:
                    after += 1
                    assert sounding(dialogue, end_s - 0.4, end_s) > 0.99
    assert before > 3
    assert after > 3


def test_a_turn_of_digits_and_other_words_keeps_to_one_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.clerk.train.data.dialogue.TURNS", {("other", "digits"): 0.5, ("digits", "other"): 0.5})
    rng, length = np.random.default_rng(0), 0.4
    bank = [Clip(str(i), np.full(9600, i / 100, np.float32), (Word("one", 0.0, length),)) for i in range(10, 19)]
    others = [replace(clip, words=(Word("hello", 0.0, length),)) for clip in bank]
    for _ in range(20):
        track = Track.silent(FRAMES)
        say(track, 1.0, Crowd(bank, others), rng)
        level = track.samples[track.samples > 0].min()
        assert set(np.unique((track.samples / level).round(3))) <= {0, 1, 2}  # digits may overlap a little


def phrase(text: str) -> Clip:
    """Each word is a tone of four frames."""
    words, tone = text.split(), tones()[0].samples
    times = [Word(word, i * len(tone) / RATE, (i + 1) * len(tone) / RATE) for i, word in enumerate(words)]
    return Clip("tone", np.concatenate([tone] * len(words)), tuple(times))


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        ("three", "three"),
        ("three seven one", "three seven one"),
        ("my number is three seven", "three seven"),
        ("see you at seven", ""),
        ("twenty one", ""),
        ("two dogs", ""),
        ("flight four two leaves", ""),
        ("hello", ""),
    ],
)
def test_a_number_is_repeated_where_it_stands_alone_or_is_spelled_out_at_the_end(said: str, repeated: str) -> None:
    assert spelled(said.split()) == repeated.split()


def test_a_number_that_a_sentence_ends_with_is_answered_and_one_within_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tools.clerk.train.data.dialogue.TURNS", {("other",): 1.0})
    sentences = {"it is four two": ["four", "two"], "two dogs": []}
    for text, digits in sentences.items():
        track = Track.silent(FRAMES)
        start_s, end_s, answered = say(track, 1.0, Crowd(tones(), [phrase(text)]), np.random.default_rng(1))
        assert answered == digits
        assert [word.text for word in track.words] == digits
        assert all(start_s < word.start_s < word.end_s <= end_s + 1e-3 for word in track.words)


def test_words_beside_a_number_have_no_number_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.clerk.train.data.dialogue.TURNS", {("other", "digits", "other"): 1.0})
    crowd = Crowd([clip for clip in tones() if clip.words[0].text == "nine"], [phrase("it is four two"), phrase("yes")])
    for seed in range(10):
        track = Track.silent(FRAMES)
        _, _, digits = say(track, 1.0, crowd, np.random.default_rng(seed))
        assert set(digits) == {"nine"}


def test_what_the_loudspeaker_plays_is_the_replies_and_ends_where_they_are_cut() -> None:
    units = {name: Clip("rms", np.full(5 * FRAME, 0.5, np.float32), ()) for name in ("ready", "you said")}
    played = own_track([Reply(3, ["ready"], 20), Reply(10, ["you said", "ready"], 13)], units, 20)
    loud = np.flatnonzero(played.reshape(20, FRAME).any(1))
    assert loud.tolist() == [3, 4, 5, 6, 7, 10, 11, 12]


def test_some_microphones_hear_the_clerk_later_and_softer() -> None:
    tone = 0.5 * np.sin(np.arange(8 * FRAME) / 3).astype(np.float32)
    units = {name: Clip("rms", tone[: n * FRAME], ()) for name, n in LENGTHS.items()}
    echoes = 0
    for seed in range(30):
        rng, again = np.random.default_rng(seed), np.random.default_rng(seed)
        quiet = make([Crowd(tones())], LENGTHS, FRAMES, rng, clean=True, sounds=0.0)
        both = make([Crowd(tones())], LENGTHS, FRAMES, again, clean=True, sounds=0.0, units=units)
        assert (both.turns, both.replies) == (quiet.turns, quiet.replies)
        echo = both.samples - quiet.samples
        echoes += bool(np.abs(echo).max() > 1e-3)
        assert np.abs(echo[: GREETING * FRAME + int(0.1 * RATE)]).max() < 0.02
        assert np.abs(echo).max() < 0.5
    assert 5 < echoes < 20


def test_sounds_that_are_no_speech_change_nothing_and_leave_both_sides_alone() -> None:
    heard = 0
    for seed in range(20):
        people, both = conversation(seed), conversation(seed, sounds=1.0)
        assert (both.turns, both.words, both.replies) == (people.turns, people.words, people.replies)
        sounds = both.samples - people.samples
        heard += bool(sounds.any())
        for start_s, end_s, _ in people.turns:
            assert not sounds[max(0, int((start_s - APART_S) * RATE)) : int((end_s + APART_S) * RATE) - 1].any()
        for i, reply in enumerate(people.replies):
            assert not sounds[reply.start * FRAME : min(reply.end, end_of(people, i)) * FRAME].any()
    assert heard > 5


def test_the_samples_carry_the_words(conversations: list[Dialogue]) -> None:
    dialogue = next(d for d in conversations if d.turns)
    assert dialogue.samples.shape == (FRAMES * FRAME,)
    for word in dialogue.words:
        inside = dialogue.samples[int(word.start_s * RATE) : int(word.end_s * RATE)]
        assert np.abs(inside).max(initial=0.0) > 0.4


def test_the_seed_decides() -> None:
    assert np.array_equal(conversation(3).samples, conversation(3).samples)
