"""When an echo comes, beside when it was expected."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.echo.interpolation import TAPS, interpolate
from antiphon_edge.audio.echo.timing import EchoTiming, echo_timing
from antiphon_edge.audio.pcm import Pcm
from tests.support.echoes import FRAME, noise

LEARNT = ((5, 1.0),)
FAR = noise(0.8, 1)


def piece(late_samples: float) -> Pcm:
    """A frame of the far end, so much later."""
    return interpolate(FAR, 100 + TAPS - late_samples + np.arange(FRAME, dtype=np.float64))


@pytest.mark.parametrize("late_samples", [0.0, 0.3, -1.6, 17.2, -45.5])
def test_it_is_found_to_a_fraction_of_a_sample(late_samples: float) -> None:
    timing = echo_timing(piece(late_samples), piece(0), LEARNT)
    assert timing is not None
    assert timing.late_samples == pytest.approx(late_samples, abs=0.1)
    assert timing.learnt == LEARNT


def test_what_else_is_heard_makes_it_less_sure() -> None:
    still, disturbed = (echo_timing(piece(1) + part * noise(0.08, 2), piece(0), LEARNT) for part in (0, 0.2))
    assert isinstance(still, EchoTiming)
    assert isinstance(disturbed, EchoTiming)
    assert disturbed.error_samples > 1.5 * still.error_samples
    assert abs(disturbed.late_samples - 1) < 4 * disturbed.error_samples


def test_a_person_who_speaks_into_it_hides_it() -> None:
    assert echo_timing(piece(1) + noise(0.08, 2), piece(0), LEARNT) is None


def test_silence_tells_nothing() -> None:
    assert echo_timing(piece(0), np.zeros(FRAME, np.float32), LEARNT) is None


def test_a_filter_that_has_learnt_nothing_expects_nothing() -> None:
    assert echo_timing(piece(0), piece(0), ()) is None
