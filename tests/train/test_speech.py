import ctypes
import os
from pathlib import Path

import pytest

from antiphon.errors import AntiphonError
from train import speech
from train.speech import ACCENTS, HELD_OUT_VARIANTS, VARIANTS, Espeak


@pytest.fixture
def espeak() -> Espeak:
    """Skips where it is not installed; fails in CI."""
    try:
        return Espeak()
    except AntiphonError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


def test_every_voice_exists(espeak: Espeak) -> None:
    for accent in ACCENTS:
        for variant in (*VARIANTS, *HELD_OUT_VARIANTS):
            espeak.choose(f"{accent}+{variant}")


@pytest.mark.parametrize("voice", ["en-gb+m1", "en-us+nobody"])
def test_a_voice_that_does_not_exist_is_no_other_voice(espeak: Espeak, voice: str) -> None:
    espeak.choose("en-us+m1")
    with pytest.raises(AntiphonError, match="espeak-ng has no voice"):
        espeak.speak(["one"], voice, 150, 50)


def test_a_missing_synthesizer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AntiphonError, match="flite is not installed: apt-get install flite"):
        speech.flite(["one"], "rms")
    with pytest.raises(AntiphonError, match="festival is not installed: apt-get install festival festvox-kdlpc16k"):
        speech.festival("one")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(AntiphonError, match="espeak-ng is not installed: apt-get install espeak-ng"):
        Espeak()
