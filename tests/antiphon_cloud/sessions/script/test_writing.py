"""What a model is fed that is asked in writing."""

from __future__ import annotations

from antiphon_cloud.model.tokens import UNGENERATED
from antiphon_cloud.sessions.script.entries import Texts
from antiphon_cloud.sessions.script.machine import PADDING, Chance, Outcome
from antiphon_cloud.sessions.script.writing import SILENT_STEPS, WritingMachine


def encode(word: str) -> list[int]:
    """A token a letter; none for what has no letters."""
    return [100 + ord(letter) - ord("a") for letter in word if letter.isalpha()]


def new(text: str = "", *, end: bool = False) -> tuple[WritingMachine, Texts]:
    texts = Texts(encode, spoken=False)
    texts.add(text, 0, end=end)
    return WritingMachine(texts), texts


def take(machine: WritingMachine, text_token: int = 50) -> tuple[int, Outcome]:
    assert not machine.starved
    event = machine.chance is Chance.ALWAYS
    return machine.fed(event), machine.advance(event, text_token)


def test_the_persons_tokens_come_one_a_step_and_then_the_models() -> None:
    machine, _ = new("ab c", end=True)
    assert [take(machine)[0] for _ in range(5)] == [100, 101, 102, UNGENERATED, UNGENERATED]


def test_no_step_is_taken_before_the_next_word_is_known() -> None:
    machine, texts = new("ab c")
    assert [take(machine)[0] for _ in range(2)] == [100, 101]
    assert machine.starved
    texts.add("", 0, end=True)
    assert take(machine)[0] == 102


def test_the_model_has_answered_when_it_is_silent_and_then_the_next_text_is_its_turn() -> None:
    machine, texts = new("a", end=True)
    texts.add("b", 0, end=True)
    assert [take(machine)[1].said for _ in range(2)] == [1, 1]
    outcomes = [take(machine, token)[1] for token in [PADDING] * 5 + [60] + [PADDING] * SILENT_STEPS]
    assert [outcome.said_all for outcome in outcomes] == [False] * (len(outcomes) - 1) + [True]
    assert take(machine) == (101, Outcome(said=2))


def test_replies_that_the_delays_hold_back_are_no_silence() -> None:
    machine, _ = new("a", end=True)
    outcomes = [take(machine, UNGENERATED)[1] for _ in range(2 * SILENT_STEPS)]
    assert not any(outcome.said_all for outcome in outcomes)


def test_words_that_have_no_tokens_are_passed_over() -> None:
    machine, _ = new("a 1 b", end=True)
    assert [take(machine)[0] for _ in range(3)] == [100, 101, UNGENERATED]


def test_when_no_more_will_come_the_model_goes_on_by_itself() -> None:
    machine, texts = new("a")
    texts.close()
    assert [take(machine)[0] for _ in range(3)] == [100, UNGENERATED, UNGENERATED]
    machine, texts = new()
    texts.close()
    assert take(machine) == (UNGENERATED, Outcome())
