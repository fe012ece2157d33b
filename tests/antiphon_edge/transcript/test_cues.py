"""Words in cues that can be read."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from antiphon_edge.transcript.cues import LINE_CHARACTERS, LINES, LONGEST_S, SHORTEST_S, Cue, Cues, broken
from antiphon_edge.transcript.words import Word


def cues_of(*words: Word, single: bool = False) -> list[Cue]:
    cues = Cues(single=single)
    return [cue for word in words for cue in cues.add(word)] + cues.end()


def spoken(text: str, start_s: float = 0.0, each_s: float = 0.4) -> list[Word]:
    """The words of `text`, one after the other."""
    return [Word(word, start_s + at * each_s, start_s + (at + 1) * each_s) for at, word in enumerate(text.split())]


def texts(*words: Word) -> list[str]:
    return [cue.text for cue in cues_of(*words)]


def test_a_sentence_ends_a_cue() -> None:
    assert texts(*spoken("This is it. And that is that.")) == ["This is it.", "And that is that."]


def test_a_sentence_too_short_to_be_read_alone_is_shown_with_the_next() -> None:
    assert texts(*spoken("Yes. I am here.")) == ["Yes. I am here."]


def test_a_pause_ends_a_cue_and_its_silence_is_nobodys() -> None:
    before, after = Word("before", 0.0, 5.0), Word("after", 5.0, 5.4)  # a word's end is the next one's start
    first, second = cues_of(before, after)
    assert (first.text, second.text) == ("before", "after")
    assert first.end_s == pytest.approx(1.0)
    assert second.end_s == pytest.approx(5.0 + SHORTEST_S)


def test_a_cue_stays_until_it_can_be_read_or_the_next_begins() -> None:
    words = [Word("incomprehensibilities, " + "notwithstanding", 0.0, 0.5)]
    assert cues_of(*words)[0].end_s == pytest.approx(len(words[0].text) / 20)
    first, _ = cues_of(*words, Word("x" * 80, 0.8, 1.0))
    assert first.end_s == 0.8


def test_random_speech_keeps_to_the_figures() -> None:
    random = np.random.default_rng(0)
    words, at_s = [], 0.0
    for _ in range(500):
        length_s = float(random.choice([0.16, 0.32, 0.64, 3.0], p=[0.4, 0.4, 0.17, 0.03]))
        text = "x" * int(random.integers(1, 14)) + str(random.choice(["", "", "", ".", ","]))
        words.append(Word(text, at_s, at_s + length_s))
        at_s += length_s
    cues = cues_of(*words)
    assert [word for cue in cues for word in cue.words] == words
    for cue in cues:
        assert len(cue.lines) <= LINES
        assert max(map(len, cue.lines)) <= LINE_CHARACTERS
        assert 0 < cue.end_s - cue.start_s <= LONGEST_S
        assert " ".join(cue.lines) == cue.text
    assert all(first.end_s <= second.start_s for first, second in pairwise(cues))


def test_a_single_word_is_a_cue_of_its_own() -> None:
    words = spoken("one two")
    assert [(cue.start_s, cue.end_s, cue.text) for cue in cues_of(*words, single=True)] == [
        (0.0, 0.4, "one"),
        (0.4, 0.8, "two"),
    ]


def test_no_cue_is_empty_of_time() -> None:
    (cue, _) = cues_of(Word("a", 0.0, 0.0), Word("b", 0.0, 0.1), single=True)
    assert cue.end_s > cue.start_s


def test_lines_are_of_much_the_same_length_and_the_lower_the_longer() -> None:
    assert broken("short") == ["short"]
    assert broken("one two three four five six seven eight nine ten") == [
        "one two three four five",
        "six seven eight nine ten",
    ]
    assert broken("x" * 50) == ["x" * 42, "x" * 8]
