import ctypes
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.errors import AntiphonError
from tests.support.spectrum import centre_hz
from tools.clerk.train.data import synthesizers
from tools.clerk.train.data.clips import RATE
from tools.clerk.train.data.speech import ACCENTS, HELD_OUT_VARIANTS, VARIANTS
from tools.clerk.train.data.synthesizers import Espeak


@pytest.fixture
def espeak() -> Espeak:
    """Skips where it is not installed; fails in CI."""
    try:
        return Espeak()
    except AntiphonError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


def test_every_voice_speaks(espeak: Espeak) -> None:
    for accent in ACCENTS:
        for variant in (*VARIANTS, *HELD_OUT_VARIANTS):
            clip = espeak.speak(["one"], f"{accent}+{variant}", 150, 50)
            assert clip, variant
            assert clip.samples.size


def test_a_variant_that_is_added_speaks_like_no_other_until_it_is_forgotten(espeak: Espeak) -> None:
    assert "formant 1" in espeak.variant("m1")
    usual = espeak.speak(["one"], "en-us+m1", 150, 50)
    with closing(espeak):
        espeak.add("giant", "language variant\nname giant\npitch 40 60\nformant 1 70 100 100\n")
        clip = espeak.speak(["one"], "en-us+giant", 150, 50)
    with pytest.raises(AntiphonError, match="espeak-ng has no voice"):
        espeak.choose("en-us+giant")
    again = espeak.speak(["one"], "en-us+m1", 150, 50)
    assert usual
    assert clip
    assert again
    assert clip.voice == "espeak en-us+giant"
    assert centre_hz(clip) < 0.8 * centre_hz(usual)
    assert centre_hz(again) == pytest.approx(centre_hz(usual), rel=0.1)


def test_an_unknown_variant_has_no_file(espeak: Espeak) -> None:
    with pytest.raises(AntiphonError, match="espeak-ng has no variant nobody"):
        espeak.variant("nobody")


@pytest.mark.parametrize("voice", ["en-gb+m1", "en-us+nobody"])
def test_a_voice_that_does_not_exist_is_no_other_voice(espeak: Espeak, voice: str) -> None:
    espeak.choose("en-us+m1")
    with pytest.raises(AntiphonError, match="espeak-ng has no voice"):
        espeak.speak(["one"], voice, 150, 50)


def test_words_without_known_phones_are_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(packages: str, command: list[str]) -> subprocess.CompletedProcess[str]:
        soundfile.write(command[-1], np.sin(np.arange(16_000) / 3), 16_000)
        return subprocess.CompletedProcess(command, 0, stdout="pau:0.1 hh:0.2 ax:0.4 l:0.6 ow:0.9 pau:1.0")

    monkeypatch.setattr(synthesizers, "synthesize", speak)
    clip = synthesizers.flite(["ready", "hello"], "rms")
    assert clip
    assert [(word.text, word.start_s) for word in clip.words] == [("ready hello", 0.0)]
    assert clip.words[0].end_s == pytest.approx(1.0, abs=0.01)
    assert synthesizers.flite(["four"], "rms") is None  # four phones where three are known


def test_a_missing_synthesizer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AntiphonError, match="flite is not installed: apt-get install flite"):
        synthesizers.flite(["one"], "rms")
    with pytest.raises(AntiphonError, match="festival is not installed: apt-get install festival festvox-kdlpc16k"):
        synthesizers.festival(["one"])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(AntiphonError, match="espeak-ng is not installed: apt-get install espeak-ng"):
        Espeak()


def test_a_missing_module_and_missing_recordings_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ttspico", None)
    with pytest.raises(AntiphonError, match="ttspico is not installed: run `make voices`"):
        synthesizers.pico("one", "en-GB")
    monkeypatch.setattr(synthesizers, "SAYTIME", tmp_path)
    with pytest.raises(AntiphonError, match="saytime is not installed: apt-get install saytime"):
        synthesizers.saytime("one")


def test_a_recording_is_cut_to_its_sound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tone = 0.2 * np.sin(2 * np.pi * 500 * np.arange(3200) / 8000)  # 0.4 s
    silence = np.zeros(800)
    soundfile.write(tmp_path / "3.au", np.concatenate([silence, tone, silence]), 8000, format="RAW", subtype="ULAW")
    monkeypatch.setattr(synthesizers, "SAYTIME", tmp_path)
    clip = synthesizers.saytime("three")
    assert [word.text for word in clip.words] == ["three"]
    assert len(clip.samples) / RATE == pytest.approx(0.4, abs=0.02)
    assert np.abs(clip.samples).max() == pytest.approx(0.5, abs=0.01)
