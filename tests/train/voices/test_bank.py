import sys
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from tests.support.kokoro import save_packages
from tools.clerk.train.data.clips import DIGITS, Clip, Samples, Word, load_clips
from tools.clerk.train.data.dialogue import spelled
from tools.clerk.train.voices import bank
from tools.clerk.train.voices.lines import CARRIERS, LONGEST, announced, counted, lines_of, number
from tools.clerk.train.voices.sentences import (
    ANNOUNCEMENTS,
    COUNTED,
    NUMBERS,
    PHRASES,
    TIMES,
    UNHEARD_COUNTED,
    UNHEARD_PHRASES,
)
from tools.clerk.train.voices.speakers import HELD_OUT, TRAINING


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voices")
    sentences = (*PHRASES, *ANNOUNCEMENTS, *COUNTED, *TIMES, *NUMBERS, *UNHEARD_PHRASES, *UNHEARD_COUNTED)
    carriers = " ".join(CARRIERS).split()
    words = {word for sentence in sentences for word in sentence.split() if word.isalpha()}
    save_packages(folder, (*TRAINING, *HELD_OUT), (*words, *DIGITS, *carriers, *"BCDEF"))
    return folder


class Listener:
    """Hears "four three" in every second phrase."""

    def __init__(self, packages: Path | None = None) -> None:
        self._heard = cycle([["for", "three"], ["hello"]])

    def words(self, samples: Samples, sample_rate_hz: int) -> list[str]:
        return next(self._heard)


@pytest.fixture
def make(packages: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(bank, "dictionary_words", lambda: ["hello", "water"])
    monkeypatch.setattr(bank, "training_kinds", lambda dictionary: [(number, 3), (counted, 2)])
    monkeypatch.setattr(bank, "held_out_kinds", lambda: [(number, 2)])
    monkeypatch.setattr("tools.clerk.train.voices.lines.CARRIERS", ("hello there",))
    monkeypatch.setattr(bank, "Whisper", Listener)
    monkeypatch.setattr(bank, "understood", lambda clips, recognizer: 1.0)

    def run(*arguments: object) -> None:
        given = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["bank", *given, "--packages", str(packages)])
        bank.main()

    return run


def test_a_speaker_has_a_file_and_one_that_is_there_is_kept(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path, "--speakers", 2)
    first = (tmp_path / "0000.npz").read_bytes()
    (tmp_path / "0001.npz").write_bytes(b"kept")
    make(tmp_path, "--speakers", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.npz", "0001.npz", "0002.npz"]
    assert (tmp_path / "0001.npz").read_bytes() == b"kept"
    (tmp_path / "0000.npz").unlink()
    make(tmp_path, "--speakers", 1)
    assert (tmp_path / "0000.npz").read_bytes() == first
    clips = load_clips(tmp_path / "0000.npz")
    assert len({clip.voice for clip in clips}) == 1
    assert sum(all(word.text in DIGITS for word in clip.words) for clip in clips) == 3
    assert len(clips) == 5


def test_the_held_out_voices_have_a_file_each_and_training_has_none_of_them(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path, "--held-out")
    assert {path.stem for path in tmp_path.iterdir()} == set(HELD_OUT)
    assert load_clips(tmp_path / "am_onyx.npz")[0].voice == "kokoro am_onyx x1.00"


def test_a_speaker_who_is_not_understood_is_replaced_in_training_and_only_named_in_the_evaluation(
    make: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(make)
    shares = iter([0.4, 0.0, 0.5])
    monkeypatch.setattr(bank, "understood", lambda clips, recognizer: next(shares))
    make(tmp_path, "--speakers", 1)
    names = [line.split(": ")[1].rsplit(",", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert len(set(names)) == 3
    assert load_clips(tmp_path / "0000.npz")[0].voice == names[-1]
    monkeypatch.setattr(bank, "understood", lambda clips, recognizer: 0.0)
    make(tmp_path / "sets", "--held-out")
    assert len(list((tmp_path / "sets").iterdir())) == len(HELD_OUT)


def test_a_number_is_understood_if_every_digit_of_it_is() -> None:
    said = [("four", "three"), ("four", "three"), ("hello",), ("nine",)]
    clips = [Clip("x", np.ones(9, np.float32), tuple(Word(word, 0.0, 0.1) for word in words)) for words in said]
    assert bank.understood(clips, Listener()) == pytest.approx(1 / 3)  # hello is no number


def test_phrases_are_said_in_lines_that_are_not_too_long_each_after_a_carrier() -> None:
    phrases = [["one", "two"]] * 60
    lines = lines_of(phrases, np.random.default_rng(0))
    assert len(lines) > 1
    assert sum(len(parts) - 1 for _, parts in lines) == 60
    for line, parts in lines:
        assert sum(parts) <= LONGEST
        assert len([word for word in line if word not in ",."]) == sum(parts)


def test_what_is_announced_is_repeated_and_what_is_counted_is_not() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        said = announced(rng)
        assert spelled(said) == [word for word in said if word in DIGITS]
        assert spelled(counted(rng)) == []


def test_the_evaluation_says_nothing_that_training_says() -> None:
    assert not {*UNHEARD_PHRASES, *UNHEARD_COUNTED} & {*PHRASES, *COUNTED, *TIMES}
    assert not any(word in DIGITS for phrase in (*PHRASES, *UNHEARD_PHRASES) for word in phrase.split())
