import numpy as np
import pytest

from antiphon.errors import AntiphonError
from tools.clerk.train.voices.speakers import HELD_OUT, SHIFTS, TEMPI, TRAINING, Speaker, drawn, stranger, voices_of


def test_no_voice_is_both_held_out_and_trained_on() -> None:
    assert len(HELD_OUT) == 18
    assert len(TRAINING) + len(HELD_OUT) == 54  # all that Kokoro has
    assert not set(TRAINING) & set(HELD_OUT)


def test_a_held_out_voice_is_refused() -> None:
    with pytest.raises(AntiphonError, match="af_sarah: held out for the evaluation, never trained on"):
        drawn(np.random.default_rng(0), (*TRAINING, "af_sarah"))


def test_speakers_for_training_are_voices_and_blends_of_two_with_tempi_and_pitches_of_their_own() -> None:
    speakers = [drawn(np.random.default_rng(seed)) for seed in range(200)]
    assert {len(speaker.parts) for speaker in speakers} == {1, 2}
    assert len({speaker.name for speaker in speakers}) > 150
    for speaker in speakers:
        assert sum(weight for _, weight in speaker.parts) == pytest.approx(1)
        assert {voice for voice, _ in speaker.parts} <= set(TRAINING)
        assert TEMPI[0] <= speaker.speed <= TEMPI[1]
        assert speaker.shift == 1 or SHIFTS[0] <= speaker.shift <= SHIFTS[1]


def test_a_name_tells_what_a_speaker_is_made_of() -> None:
    for speaker in (drawn(np.random.default_rng(seed)) for seed in range(50)):
        assert voices_of(speaker.name) == [voice for voice, _ in speaker.parts]
    assert Speaker((("af_sky", 0.25), ("am_adam", 0.75)), shift=1.1).name == "kokoro af_sky*0.25+am_adam*0.75 x1.10"


def test_the_evaluations_speakers_are_voices_as_they_are_and_british_where_they_are() -> None:
    speaker = stranger("bm_george", np.random.default_rng(0))
    assert (speaker.parts, speaker.british, speaker.shift) == ((("bm_george", 1.0),), True, 1.0)
