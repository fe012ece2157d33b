import numpy as np

from tests.support.spectrum import centre_hz, power_of
from tools.clerk.train.data.clips import RATE, THROAT_HZ, Clip, Throat, Word, revoiced


def vowel(*formants_hz: float) -> Clip:
    """Half a second of 100 Hz and its harmonics, louder around the formants."""
    at_s = np.arange(RATE // 2) / RATE
    harmonics = np.arange(100, 8000, 100)
    levels = np.array([1 / (1 + ((harmonics - formant) / 200) ** 2) for formant in formants_hz]).sum(0)
    samples = (levels[:, None] * np.sin(2 * np.pi * harmonics[:, None] * at_s)).sum(0)
    return Clip("vowel", (0.5 * samples / np.abs(samples).max()).astype(np.float32), (Word("one", 0.0, 0.5),))


def test_the_same_throat_says_the_same() -> None:
    clip = vowel(500, 1500)
    same = revoiced(clip, Throat("same", (1.0,) * len(THROAT_HZ)))
    np.testing.assert_allclose(same.samples, clip.samples, atol=1e-5)


def test_another_throat_moves_each_formant_by_its_own_factor_and_keeps_pitch_and_times() -> None:
    clip = vowel(500, 2500)
    other = revoiced(clip, Throat("other", (1.2, 0.8, 0.8, 0.8)))
    assert other.words == clip.words
    assert other.samples.shape == clip.samples.shape
    assert other.voice == "vowel other"
    assert centre_hz(other, 100, 1200) > 1.05 * centre_hz(clip, 100, 1200)
    assert centre_hz(other, 1200, 4000) < 0.9 * centre_hz(clip, 1200, 4000)
    frequency, power = power_of(other)
    harmonic = np.abs(frequency % 100 - 50) > 40
    assert power[harmonic].sum() > 0.95 * power.sum()


def test_throats_are_drawn_around_one_length() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([Throat.draw("any", rng).factors for _ in range(200)])
    assert drawn.min() > 0.75
    assert drawn.max() < 1.32
    assert (drawn.max(1) / drawn.min(1)).max() < 1.18  # one throat's parts differ less than throats do
    assert drawn.mean(1).max() / drawn.mean(1).min() > 1.3
