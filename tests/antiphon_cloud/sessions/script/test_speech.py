"""What a model that reads aloud is fed: to the token as the reference's machine has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.model.tokens import NEW_WORD
from antiphon_cloud.sessions.script.entries import Texts
from antiphon_cloud.sessions.script.machine import Chance, Outcome
from antiphon_cloud.sessions.script.speech import SpeechMachine
from tests.support.golden import GOLDEN

CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "tts-tiny/expected.json").read_text())
TOKENIZER = Tokenizer(GOLDEN / "moshi-tiny/tokenizer_spm_tiny.model")
TEXT_CARD, WORDS_AHEAD = 256, 2


def texts(padding_between: int = 1) -> Texts:
    return Texts(TOKENIZER.encode, speaker_tokens=True, padding_between=padding_between)


def machine(said: Texts, delay_steps: int = 5) -> SpeechMachine:
    return SpeechMachine(said, TEXT_CARD, WORDS_AHEAD, delay_steps)


def step(reader: SpeechMachine, drawn: int) -> tuple[int, Outcome]:
    """Takes a step at which the model draws a token; what it is fed, and what came of it."""
    assert not reader.starved
    event = reader.chance is Chance.ALWAYS or (reader.chance is Chance.DRAWN and drawn == NEW_WORD)
    fed = reader.fed(event)
    return fed, reader.advance(event, fed)


@pytest.mark.parametrize("name", CASES)
def test_every_token_is_the_references(name: str) -> None:
    case = CASES[name]
    said = texts(case["padding_between"])
    for turn, line in enumerate(case["script"]):
        said.add(line, turn % 2, end=turn == len(case["script"]) - 1)
    entries = list(said.current.entries)
    assert [{"tokens": list(entry.tokens), "text": entry.text, "padding": entry.padding} for entry in entries] == case[
        "entries"
    ]

    reader, begun, ends = machine(said, case["delay_steps"]), list[tuple[int, int]](), list[int]()
    for number, (drawn, wanted) in enumerate(case["text_steps"]):
        fed, outcome = step(reader, drawn)
        assert fed == wanted, number
        if outcome.said is not None:
            begun.append((outcome.said, number))
        if outcome.said_all:
            ends.append(number)
    words = {entry.end: entry.text for entry in entries if entry.tokens}
    *spoken, (_, end) = begun
    assert [[words[at], number] for at, number in spoken if at in words] == case["transcript"]
    assert end == case["end_step"]
    assert ends == [len(case["text_steps"]) - 1], "then all is said, and the reference stops"


def test_it_takes_no_step_before_it_knows_the_words_that_it_looks_ahead_to() -> None:
    said = texts()
    reader = machine(said)
    assert reader.starved
    said.add("one two ", 0, end=False)
    assert [step(reader, 3)[0] for _ in range(2)] == [3, 3], "no word begins in these"
    assert reader.starved
    said.add("three ", 0, end=False)
    assert not reader.starved


def test_what_it_is_fed_does_not_depend_on_when_the_text_came() -> None:
    whole, late = texts(), texts()
    whole.add("one two three four five", 0, end=True)
    first, second = machine(whole), machine(late)
    parts = iter(["on", "e two th", "ree ", "four fi", "ve"])
    for number in range(60):
        while second.starved:
            part = next(parts)
            late.add(part, 0, end=part == "ve")
        drawn = NEW_WORD if number % 3 == 0 else 3
        assert step(first, drawn) == step(second, drawn)
        if first.starved:
            break
    assert whole.current.empty
    assert late.current.empty


def test_the_next_text_begins_when_all_of_the_last_was_heard() -> None:
    said = texts()
    said.add("one", 0, end=True)
    said.add("two", 1, end=True)
    reader = machine(said)
    outcomes = [step(reader, NEW_WORD)[1] for _ in range(28)]
    assert [(number, o.said) for number, o in enumerate(outcomes) if o.said is not None] == [
        (2, 3), (5, 3), (16, 6), (19, 6),
    ]  # fmt: skip
    assert [number for number, o in enumerate(outcomes) if o.said_all] == [13, 27]


def test_the_first_sound_comes_at_most_three_steps_after_its_delay() -> None:
    said = texts()
    said.add("one two three ", 0, end=False)
    reader = machine(said)
    steps = next(number for number in range(10) if step(reader, 3)[1].said is not None)
    assert steps <= 3, "the word's sound is that of the step `sound_delay` later"


def test_a_break_of_the_text_is_a_pause() -> None:
    said = texts()
    said.add('one <break time="0.6s"/> two', 0, end=True)
    reader = machine(said)
    begun = [number for number in range(60) if not reader.starved and step(reader, NEW_WORD)[1].said is not None]
    assert begun[:3] == [2, 5, 13], "0.6 s are 8 frames"


def test_when_no_more_will_come_it_goes_on_with_padding() -> None:
    said = texts()
    reader = machine(said)
    said.close()
    assert [step(reader, NEW_WORD) for _ in range(5)] == [(3, Outcome())] * 5
