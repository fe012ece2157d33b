from collections.abc import Callable

import numpy as np
import pytest

from tools.clerk.train.data.clips import RATE, Samples
from tools.clerk.train.rooms import places
from tools.clerk.train.rooms.echo import DELAYS_S, FAINTEST, LOUDEST, echo_of, residue
from tools.clerk.train.rooms.places import PLACES, far, loudspeaker, placed, room, telephone


@pytest.fixture
def voice() -> Samples:
    """A second of noise as loud as speech, after and before a second of silence."""
    made = np.zeros(3 * RATE, np.float32)
    made[RATE : 2 * RATE] = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    return made


def high(samples: Samples, above_hz: float) -> float:
    """The share of the energy above a frequency."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[np.fft.rfftfreq(len(samples), 1 / RATE) > above_hz].sum() / power.sum())


def test_the_places_are_all_visited_and_whatever_comes_of_them_is_a_recording(
    voice: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited = list[str]()

    def watched(name: str) -> Callable[[Samples, np.random.Generator], Samples]:
        usual = getattr(places, name)

        def visit(samples: Samples, rng: np.random.Generator) -> Samples:
            visited.append(name)
            return np.asarray(usual(samples, rng))

        return visit

    for name in ("far", "loudspeaker", "telephone", "recorded"):
        monkeypatch.setattr(places, name, watched(name))
    for seed in range(40):
        samples = placed(voice, np.random.default_rng(seed))
        assert samples.shape == voice.shape
        assert samples.dtype == np.float32
        assert np.abs(samples).max() <= 1
    assert set(visited) == {"far", "loudspeaker", "telephone", "recorded"}
    assert sum(PLACES.values()) == pytest.approx(1)


def test_the_seed_decides_the_place(voice: Samples) -> None:
    assert np.array_equal(placed(voice, np.random.default_rng(3)), placed(voice, np.random.default_rng(3)))


def test_a_room_has_the_direct_sound_first_and_as_much_of_the_others_as_asked() -> None:
    response = room(0.4, 6.0, np.random.default_rng(0))
    others = (response[1:] ** 2).sum()
    assert (response**2).sum() == pytest.approx(1, rel=1e-5)
    assert response[0] ** 2 / others == pytest.approx(10**0.6, rel=1e-3)
    assert not response[1 : int(0.002 * RATE)].any()


def test_a_voice_from_far_rings_on_and_has_no_highs(voice: Samples) -> None:
    samples = far(voice, np.random.default_rng(1))
    after, later = samples[2 * RATE : 2 * RATE + 2400], samples[-2400:]
    assert after.std() > 2 * later.std()
    assert high(samples, 9500) < high(voice, 9500)


def test_a_telephone_has_a_narrow_band(voice: Samples) -> None:
    assert high(telephone(voice, np.random.default_rng(2))[RATE : 2 * RATE], 4200) < 0.1
    assert high(voice, 4200) > 0.5


def test_a_small_loudspeaker_has_no_lows(voice: Samples) -> None:
    samples = loudspeaker(voice, np.random.default_rng(3))
    assert 1 - high(samples, 100) < 0.2 * (1 - high(voice, 100))


def test_an_echo_is_later_and_softer_than_what_is_said(voice: Samples) -> None:
    levels = []
    for seed in range(60):
        echo = echo_of(voice, np.random.default_rng(seed))
        assert echo.shape == voice.shape
        assert np.abs(echo[: int((1 + DELAYS_S[0]) * RATE)]).max() < 0.002  # but a canceller's hiss
        levels.append(float(echo.std() / voice.std()))
    assert max(levels) < 2 * LOUDEST  # a small loudspeaker has resonances
    assert min(levels) < 3 * FAINTEST
    assert max(levels) > LOUDEST / 3


def test_what_a_canceller_leaves_has_holes(voice: Samples) -> None:
    left = residue(voice, np.random.default_rng(0))
    assert left.shape == voice.shape
    assert 0.2 < left[RATE : 2 * RATE].std() / voice[RATE : 2 * RATE].std() < 0.9
