from pathlib import Path

import pytest

from antiphon.errors import AntiphonError
from tools.clerk.train.data import other_words
from tools.clerk.train.data.other_words import ALPHABET


def test_words_that_are_hold_or_resemble_digits_or_are_the_evaluations_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dictionary = tmp_path / "words"
    kept = "hello ill sometimes"
    names = "Hello a hello's café something's everywhere"
    left_out = "four fourteen anyone for fires ninth tango tangos vii xi"
    dictionary.write_text("\n".join(f"{kept} {names} {left_out}".split()))
    monkeypatch.setattr(other_words, "DICTIONARY", dictionary)
    assert other_words.dictionary_words() == kept.split()


def test_the_alphabet_has_a_word_for_every_letter_but_x() -> None:
    assert [word[0] for word in ALPHABET] == list("abcdefghijklmnopqrstuvwyz")


def test_a_missing_dictionary_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(other_words, "DICTIONARY", tmp_path / "words")
    with pytest.raises(AntiphonError, match="wamerican-small is not installed: apt-get install wamerican-small"):
        other_words.dictionary_words()
