from pathlib import Path

import numpy as np
import pytest

from antiphon.errors import AntiphonError
from tests.support.kokoro import COLUMN, COLUMNS, save_packages
from tools.clerk.train.data.clips import RATE
from tools.clerk.train.voices.kokoro import Kokoro
from tools.clerk.train.voices.lexicon import Lexicon
from tools.clerk.train.voices.speakers import Speaker

WORDS = ("one", "two", "B")
EACH_S = COLUMNS * COLUMN / RATE


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voices")
    save_packages(folder, ("af_sky", "am_adam"), WORDS)
    return folder


def test_the_start_of_every_phoneme_is_known(packages: Path) -> None:
    spoken = Kokoro(packages).say("one two", Speaker((("af_sky", 1.0),), speed=1.0))
    assert spoken.starts_s == pytest.approx(EACH_S * np.arange(1, 9))  # a phoneme of silence at either end
    assert len(spoken.samples) == round(9 * EACH_S * RATE)


def test_a_blend_is_the_weighted_mean_of_its_voices(packages: Path) -> None:
    kokoro = Kokoro(packages)
    style = kokoro.style(Speaker((("af_sky", 0.25), ("am_adam", 0.75))), 3)
    assert style.shape == (1, 256)
    assert style == pytest.approx(np.full((1, 256), 0.25 * 0.1 + 0.75 * 0.2))


def test_a_shifted_speaker_is_higher_and_as_fast_as_asked(packages: Path) -> None:
    kokoro = Kokoro(packages)
    usual = kokoro.say("one two", Speaker((("af_sky", 1.0),), speed=1.0))
    high = kokoro.say("one two", Speaker((("af_sky", 1.0),), shift=1.1, speed=1.0))
    assert high.starts_s == pytest.approx(usual.starts_s / 1.1)  # this model's durations know no speed
    assert len(high.samples) == pytest.approx(len(usual.samples) / 1.1, abs=2)

    def pitch_hz(samples: np.ndarray) -> float:
        return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * RATE / len(samples))

    assert pitch_hz(high.samples) == pytest.approx(1.1 * pitch_hz(usual.samples), rel=0.02)


def test_packages_that_are_missing_are_named(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(AntiphonError, match=r"part\.bin is missing: run `make voices`"):
        Kokoro(tmp_path)
    with pytest.raises(AntiphonError, match=r"us_silver\.json is missing: run `make voices`"):
        Lexicon(folder=tmp_path)
    with pytest.raises(AntiphonError, match=r"af_heart\.bin is missing: run `make voices`"):
        Kokoro(packages).say("one", Speaker((("af_heart", 1.0),)))


def test_a_line_is_its_words_phonemes_with_the_place_of_each(packages: Path) -> None:
    line = Lexicon(folder=packages).pronounce(["one", ",", "B", "the", "."])
    assert line.phonemes == "one, B ðə."
    assert [(word, line.phonemes[first:after]) for word, first, after in line.spans] == [
        ("one", "one"),
        ("B", "B"),
        ("the", "ðə"),
    ]


def test_a_word_without_phonemes_is_named(packages: Path) -> None:
    lexicon = Lexicon(british=True, folder=packages)
    assert lexicon.knows(["one", ".", "two"])
    assert not lexicon.knows(["one", "xyzzy"])
    with pytest.raises(AntiphonError, match="the lexicon has no “xyzzy”"):
        lexicon.pronounce(["xyzzy"])
