"""What is heard in a gap."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.jitter.concealment import FADE_MS, HOLD_MS, Concealment
from antiphon_edge.audio.jitter.splice import Splicer
from tests.support.playing import RATE_HZ, largest_jump, tone

SPLICER = Splicer(24.0)
HISTORY = 960


@pytest.mark.parametrize("hz", [110.0, 300.0, 777.0, 2500.0])
def test_a_vowel_goes_on_and_fades_without_a_click(hz: float) -> None:
    history = tone(HISTORY, hz=hz)
    gap = Concealment(history, SPLICER, 24.0).take(RATE_HZ // 10)
    held = HOLD_MS * 24
    assert np.abs(gap[:held]).max() > 0.9
    assert not gap[(HOLD_MS + FADE_MS) * 24 :].any()
    assert largest_jump(np.concatenate((history, gap)), hz) < 0.02


def test_the_sound_goes_on_where_it_stopped() -> None:
    gap = Concealment(tone(HISTORY), SPLICER, 24.0).take(HOLD_MS * 24)
    np.testing.assert_allclose(gap, tone(HOLD_MS * 24, HISTORY), atol=0.01)


def test_silence_goes_on_as_silence() -> None:
    assert not Concealment(np.zeros(HISTORY, np.float32), SPLICER, 24.0).take(2000).any()


def test_it_may_be_taken_in_pieces() -> None:
    whole = Concealment(tone(HISTORY), SPLICER, 24.0).take(2000)
    pieces = Concealment(tone(HISTORY), SPLICER, 24.0)
    np.testing.assert_array_equal(np.concatenate([pieces.take(samples) for samples in (1, 999, 1000)]), whole)
