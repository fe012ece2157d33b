from collections.abc import Callable

import numpy as np
import pytest

from tools.clerk.train.data.clips import RATE, Samples
from tools.clerk.train.data.sounds import LONGEST_S, beeps, rattle, sound, struck


def test_a_sound_can_be_heard_and_is_no_louder_than_a_clip() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        samples = sound(rng)
        assert samples.dtype == np.float32
        assert 0.02 * RATE <= len(samples) <= LONGEST_S * RATE
        assert 0.03 < np.abs(samples).max() < 0.501
        assert samples[-1] == 0


@pytest.mark.parametrize("kind", [beeps, struck, rattle])
def test_every_kind_ends_in_silence(kind: Callable[[np.random.Generator], Samples]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        samples = kind(rng)
        assert abs(samples[-1]) < 0.02 * np.abs(samples).max()


def test_the_generator_decides() -> None:
    assert np.array_equal(sound(np.random.default_rng(2)), sound(np.random.default_rng(2)))
    assert not np.array_equal(sound(np.random.default_rng(2))[:1000], sound(np.random.default_rng(3))[:1000])
