from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antiphon.errors import AntiphonError
from tests.support.clips import save_bank, tones
from tools.clerk.train.data.clips import Word, save_clips
from tools.clerk.train.data.crowd import EVERY, NATURAL, Crowd, load_crowds, load_natural, one_of

HELLO = replace(tones()[0], words=(Word("hello", 0.0, 0.3),))
DOGS = replace(tones()[0], words=(Word("two", 0.0, 0.2), Word("dogs", 0.2, 0.3)))


def save_speaker(folder: Path, number: int, voice: str) -> None:
    folder.mkdir(exist_ok=True)
    save_clips(folder / f"{number:04}.npz", [replace(clip, voice=voice) for clip in (*tones(), HELLO, DOGS)])


def test_a_bank_without_natural_voices_is_one_crowd_that_says_digits(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank")
    (crowd,) = load_crowds(tmp_path / "bank")
    assert len(crowd.digits) == 10
    assert not crowd.others


def test_natural_voices_are_a_crowd_of_their_own_with_a_share_of_the_turns(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank")
    save_speaker(tmp_path / "bank/natural", 1, "kokoro af_sky x1.00")
    _, natural = crowds = load_crowds(tmp_path / "bank")
    assert {clip.words[0].text for clip in natural.others} == {"hello", "two"}
    assert [clip.words[0].text for clip in natural.plain] == ["hello"]
    assert len(natural.digits) == 10
    drawn = [one_of(crowds, np.random.default_rng(seed)) is natural for seed in range(400)]
    assert np.mean(drawn) == pytest.approx(NATURAL, abs=0.08)


def test_some_natural_speakers_measure_training_and_are_no_part_of_it(tmp_path: Path) -> None:
    for number in range(EVERY + 1):
        save_speaker(tmp_path / "natural", number, f"kokoro af_sky x1.{number:02}")
    measured = {clip.voice for clip in load_natural(tmp_path / "natural", held_out=True)}
    trained = {clip.voice for clip in load_natural(tmp_path / "natural")}
    assert measured == {"kokoro af_sky x1.00", f"kokoro af_sky x1.{EVERY}"}
    assert len(trained) == EVERY - 1
    assert not measured & trained


@pytest.mark.parametrize("voice", ["kokoro am_onyx x1.00", "kokoro af_sky*0.50+am_onyx*0.50 x1.00"])
def test_a_bank_with_a_voice_of_the_evaluation_is_refused(voice: str, tmp_path: Path) -> None:
    save_speaker(tmp_path / "natural", 1, voice)
    with pytest.raises(AntiphonError, match="am_onyx: held out for the evaluation"):
        load_natural(tmp_path / "natural")


def test_a_voice_whose_name_begins_like_a_held_out_one_is_another(tmp_path: Path) -> None:
    save_speaker(tmp_path / "natural", 1, "kokoro zm_yunxia x1.00")  # zm_yunxi is held out
    assert load_natural(tmp_path / "natural")


def test_a_folder_without_speakers_is_named(tmp_path: Path) -> None:
    (tmp_path / "natural").mkdir()
    with pytest.raises(AntiphonError, match=r"too few speakers in .*natural"):
        load_natural(tmp_path / "natural")


def test_a_crowd_alone_is_always_drawn() -> None:
    crowd = Crowd(tones())
    assert one_of([crowd], np.random.default_rng(0)) is crowd
