"""When a person has come to a pause."""

from __future__ import annotations

from antiphon_edge.client.events import Reply
from antiphon_edge.transcript.pauses import Pauses


def begin(pauses: Pauses, *steps: tuple[float | None, bool]) -> list[bool]:
    """For each step of a probability and a word: whether a pause begins."""
    return [pauses.add(Reply(0, None, 3, "", 0.0, pause=pause), word=word) for pause, word in steps]


def test_a_pause_begins_once_after_a_word() -> None:
    steps = (0.9, False), (0.1, True), (0.4, False), (0.6, False), (0.9, False), (0.2, True), (0.7, False)
    assert begin(Pauses(), *steps) == [False, False, False, True, False, False, True]


def test_a_word_that_comes_with_a_pause_is_after_it() -> None:
    assert begin(Pauses(), (0.0, True), (0.8, True), (0.8, False)) == [False, True, True]


def test_a_lower_threshold_answers_sooner() -> None:
    assert begin(Pauses(threshold=0.2), (0.0, True), (0.3, False)) == [False, True]


def test_a_model_that_hears_no_pauses_has_none() -> None:
    assert begin(Pauses(), (None, True), (None, False)) == [False, False]
