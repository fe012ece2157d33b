"""What a model in a dialogue is fed while it says what it was given."""

from __future__ import annotations

from antiphon_cloud.model.tokens import NEW_WORD, UNGENERATED
from antiphon_cloud.sessions.script.entries import Texts
from antiphon_cloud.sessions.script.machine import PADDING, Chance
from antiphon_cloud.sessions.script.monologue import HOLD_STEPS, LAST_SOUND_STEPS, MAX_PADDING, MonologueMachine

LISTENS = 9  # a token that is no word's


def encode(word: str) -> list[int]:
    """A token a letter."""
    return [100 + ord(letter) - ord("a") for letter in word]


def feed(machine: MonologueMachine, *drawn: int) -> list[int]:
    """What the stream holds at steps at which the model draws these."""
    held = []
    for token in drawn:
        event = machine.chance is Chance.ALWAYS or (machine.chance is Chance.DRAWN and token == NEW_WORD)
        fed = machine.fed(event)
        held.append(token if fed == UNGENERATED else fed)
        outcome = machine.advance(event, token)
        machine_said.append((outcome.said, outcome.said_all))
    return held


machine_said: list[tuple[int | None, bool]] = []


def new(text: str = "", *, end: bool = False) -> tuple[MonologueMachine, Texts]:
    machine_said.clear()
    texts = Texts(encode)
    if text:
        texts.add(text, 0, end=end)
    return MonologueMachine(texts), texts


def test_without_words_the_model_says_what_it_will() -> None:
    machine, _ = new()
    assert feed(machine, 3, 0, 17, 3) == [3, 0, 17, 3]
    assert not machine.starved


def test_the_first_word_begins_at_once() -> None:
    machine, texts = new()
    assert feed(machine, 17) == [17]
    texts.add("ab ", 0, end=False)
    assert feed(machine, 17, 17, 17) == [NEW_WORD, 100, 101]
    assert machine_said[1] == (2, False)


def test_the_model_decides_when_the_next_word_begins_once_the_last_is_in_the_stream() -> None:
    machine, _ = new("ab c d", end=True)
    assert feed(machine, 3, 0, 0, 3, LISTENS, 0, 3) == [0, 100, 101, PADDING, PADDING, NEW_WORD, 102]


def test_it_begins_at_the_latest_after_some_padding() -> None:
    machine, _ = new("a b", end=True)
    held = feed(machine, *[3] * (4 + MAX_PADDING))
    assert held == [0, 100, *[PADDING] * MAX_PADDING, NEW_WORD, 101]


def test_after_the_last_word_the_model_is_free_again() -> None:
    machine, _ = new("a", end=True)
    assert feed(machine, 3, 3, 17, 0, 18) == [0, 100, 17, 0, 18]
    assert machine_said[2] == (1, False)


def test_all_is_said_when_the_last_word_was_heard() -> None:
    machine, texts = new("a", end=True)
    feed(machine, *[3] * (2 + LAST_SOUND_STEPS))
    texts.add("b", 0, end=True)
    assert not any(said_all for _, said_all in machine_said), "and another text waits until then"
    assert feed(machine, 17, 17, 17) == [17, NEW_WORD, 101]
    assert machine_said[-3] == (None, True)


def test_words_that_are_late_are_waited_for_in_silence() -> None:
    machine, texts = new("a ")
    assert feed(machine, 3, 3, 17, 0, 17) == [0, 100, PADDING, PADDING, PADDING]
    texts.add("b ", 0, end=False)
    assert feed(machine, 0) == [NEW_WORD]


def test_words_that_never_come_are_not_waited_for() -> None:
    machine, texts = new("a ")
    assert feed(machine, *[17] * (3 + HOLD_STEPS)) == [0, 100, *[PADDING] * HOLD_STEPS, 17]
    texts.add("b", 0, end=True)
    assert feed(machine, 17, 17, 17) == [NEW_WORD, 101, 17]


def test_a_pause_lasts_as_long_as_it_says() -> None:
    machine, _ = new('a <break time="0.5s"/> b', end=True)
    held = feed(machine, *[0] * 12)
    assert held == [0, 100, *[PADDING] * 7, NEW_WORD, 101, 0]
