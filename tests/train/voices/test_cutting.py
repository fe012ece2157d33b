import numpy as np
import pytest

from tools.clerk.train.data.clips import RATE, Clip, Word
from tools.clerk.train.voices.cutting import clips_of, loudness, paused, quietest, words_of
from tools.clerk.train.voices.kokoro import Spoken
from tools.clerk.train.voices.lexicon import Pronounced

LINE = Pronounced("say. one two. six", (("say", 0, 3), ("one", 5, 8), ("two", 9, 12), ("six", 14, 17)))
EACH_S = 0.1


@pytest.fixture
def spoken() -> Spoken:
    """Each phoneme of a word is 0.1 s of sound, each pause or space 0.1 s of silence."""
    tone = 0.3 * np.sin(np.arange(int(EACH_S * RATE)) / 3)
    pieces = [tone if phoneme.isalpha() else 0 * tone for phoneme in LINE.phonemes]
    starts = EACH_S * np.arange(len(LINE.phonemes) + 1, dtype=np.float64)
    return Spoken(np.concatenate(pieces).astype(np.float32), starts)


def test_the_quietest_ten_milliseconds_are_found_within_their_bounds() -> None:
    levels = np.array([0.5, 0.1, 0.4, 0.0, 0.3], np.float32)
    assert quietest(levels, 0.0, 0.03) == 360  # the middle of the second
    assert quietest(levels, 0.02, 0.05) == 840
    assert quietest(levels, 0.04, 0.04) == 1080  # there is always one


def test_words_have_the_times_of_their_phonemes(spoken: Spoken) -> None:
    times = [(word.text, word.start_s, word.end_s) for word in words_of(LINE, spoken)]
    expected = [("say", 0.0, 0.3), ("one", 0.5, 0.8), ("two", 0.9, 1.2), ("six", 1.4, 1.7)]
    for (text, *found), (wanted, *times_s) in zip(times, expected, strict=True):
        assert text == wanted
        assert found == pytest.approx(times_s, abs=0.011)


def test_silence_that_a_words_last_phoneme_holds_is_no_part_of_it(spoken: Spoken) -> None:
    spoken.samples[int(1.1 * RATE) :] = 0
    ends = {word.text: word.end_s for word in words_of(LINE, spoken)}
    assert ends["two"] == pytest.approx(1.1, abs=0.011)


def test_a_line_is_cut_into_its_phrases_without_the_carrier(spoken: Spoken) -> None:
    clips = clips_of("somebody", LINE, spoken, [1, 2, 1])
    assert [[word.text for word in clip.words] for clip in clips] == [["one", "two"], ["six"]]
    assert [len(clip.samples) / RATE for clip in clips] == pytest.approx([0.7, 0.3], abs=0.02)
    for clip in clips:
        assert clip.voice == "somebody"
        assert clip.words[0].start_s == pytest.approx(0, abs=0.02)
        assert clip.words[-1].end_s == pytest.approx(len(clip.samples) / RATE, abs=0.02)
        assert np.abs(clip.samples).max() == pytest.approx(0.5)


def test_a_pause_between_words_moves_the_later_ones_only() -> None:
    words = (Word("one", 0.0, 0.4), Word("two", 0.4, 0.8), Word("six", 0.8, 1.2))
    clip = Clip("somebody", np.full(int(1.2 * RATE), 0.5, np.float32), words)
    slow = paused(clip, [0.0, 0.3])
    assert len(slow.samples) == len(clip.samples) + int(0.3 * RATE)
    starts_s = [word.start_s for word in slow.words]
    assert starts_s == pytest.approx([0.0, 0.4, 1.1])
    quiet = np.flatnonzero(loudness(slow.samples) == 0) * 0.01
    assert quiet.min() == pytest.approx(0.8, abs=0.15)
    assert quiet.max() == pytest.approx(1.1, abs=0.15)
