"""A text in words and pauses, however it comes."""

from __future__ import annotations

import random

import pytest

from antiphon.errors import ProtocolError
from antiphon.words import LONGEST_PAUSE_S, LONGEST_WORD, Word, WordCutter

TEXT = 'It’s a “test” (really): one<break time="0.5s"/>two  <b> <break time="2s" />three <break'


def cut(parts: list[str], *, spoken: bool = True) -> list[Word]:
    cutter = WordCutter(spoken=spoken)
    words = [word for part in parts for word in cutter.add(part)]
    return words + cutter.add("", end=True)


def shown(words: list[Word]) -> list[str | float]:
    return [word.text or word.pause_s for word in words]


def test_words_are_as_they_are_spoken() -> None:
    assert shown(cut([TEXT])) == ["It's", "a", "“test”", "really", "one", 0.5, "two", "<b>", 2.0, "three", "<break"]


def test_a_word_is_cut_alike_however_the_text_comes() -> None:
    rng = random.Random(0)
    for _ in range(200):
        places = sorted(rng.sample(range(1, len(TEXT)), rng.randrange(len(TEXT) - 1)))
        assert cut([TEXT[a:b] for a, b in zip([0, *places], [*places, len(TEXT)], strict=True)]) == cut([TEXT])


def test_a_word_says_where_it_ends_in_all_that_was_given() -> None:
    cutter = WordCutter(start=100)
    first = cutter.add("one  tw")
    second = cutter.add("o", end=True)
    assert [word.end for word in first + second] == [103, 108]


def test_a_word_counts_as_many_bytes_as_were_given_of_it() -> None:
    assert [word.size_bytes for word in cut(['(été) <break time="1s"/>'])] == [7, 18]


def test_another_speaker_completes_a_word() -> None:
    cutter = WordCutter()
    assert cutter.add("hello", 0) == []
    assert [(word.text, word.speaker) for word in cutter.add(" there", 1, end=True)] == [("hello", 0), ("there", 1)]


def test_in_writing_words_are_as_they_were_written() -> None:
    assert shown(cut(['It’s (a): <break time="1s"/>'], spoken=False)) == ["It’s", "(a):", "<break", 'time="1s"/>']


@pytest.mark.parametrize("text", ["", "  ", '<break time="1s"/>', "(): "])
def test_a_text_without_words_cannot_end(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"^say\.end: the text that ends here has no words"):
        WordCutter().add(text, end=True)


@pytest.mark.parametrize("seconds", ["31536000", "1" + "0" * 400, "60.001"])
def test_a_pause_is_not_longer_than_a_minute(seconds: str) -> None:
    assert LONGEST_PAUSE_S == 60
    with pytest.raises(ProtocolError, match=r"^say\.text: a pause of \d{1,20}(\.\d+)? s, longer than 60"):
        WordCutter().add(f'one <break time="{seconds}s"/> two')


@pytest.mark.parametrize("end", [" ", "", '<break time="1s"/>'])
def test_what_has_no_white_space_for_long_is_no_word(end: str) -> None:
    cutter = WordCutter()
    cutter.add("x" * LONGEST_WORD)
    with pytest.raises(ProtocolError, match=r"^say\.text: 'x{20}'… has .*part the words$"):
        cutter.add("x" + end)
    assert [len(word.text) for word in cutter.add(" ")] == [LONGEST_WORD], "nothing of what was refused was taken"


def test_a_tag_that_never_ends_is_a_word() -> None:
    assert shown(cut(['<break time="1', "x one"])) == ["<break", 'time="1x', "one"]
