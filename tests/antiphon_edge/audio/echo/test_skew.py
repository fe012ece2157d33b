"""By how much the speaker's clock is faster: what echoes tell, beside what callbacks tell."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.echo.far_end import FarEnd
from antiphon_edge.audio.echo.interpolation import interpolate
from antiphon_edge.audio.echo.processor import VoiceProcessing, VoiceProcessor
from antiphon_edge.audio.echo.skew import EchoSkew
from antiphon_edge.audio.echo.timing import EchoTiming
from antiphon_edge.audio.pcm import Pcm
from tests.support.echoes import FRAME, RATE_HZ, noise, room, softer_db

CALLBACKS_TELL = (-2e-4, 1e-4)  # a skew, and its standard error


def test_without_an_echo_it_is_what_callbacks_tell() -> None:
    assert EchoSkew().beside(*CALLBACKS_TELL) == -2e-4


@pytest.mark.parametrize("ran", [0.0, 3e-4], ids=["as the microphone", "as the speaker"])
def test_one_echo_after_a_silence_tells_it(ran: float) -> None:
    """The speaker is 3e-4 faster; the far end has run by as much, or not, so the echo is early or in time."""
    skew = EchoSkew()
    for frame in range(60):
        skew.ran(ran * frame * FRAME)
    early_samples = (3e-4 - ran) * 50 * FRAME
    skew.learn(EchoTiming(-early_samples, 0.1, ((50, 2.0),)), FRAME)
    assert skew.beside(*CALLBACKS_TELL) == pytest.approx(3e-4, abs=1e-5)


def test_an_echo_that_was_learnt_from_this_moment_tells_nothing() -> None:
    skew = EchoSkew()
    skew.ran(0)
    skew.learn(EchoTiming(3, 0.1, ((0, 1.0),)), FRAME)
    assert skew.beside(*CALLBACKS_TELL) == -2e-4


def test_frames_that_are_long_forgotten_tell_nothing() -> None:
    skew = EchoSkew()
    skew.ran(0)
    skew.learn(EchoTiming(3, 0.1, ((100, 1.0),)), FRAME)
    assert skew.beside(*CALLBACKS_TELL) == -2e-4


def voice(seconds: float) -> Pcm:
    """Noise without high pitches, as speech has few: an interpolation between samples is exact."""
    return np.convolve(noise(seconds, 1), np.hanning(13) / np.hanning(13).sum(), "same").astype(np.float32)


def aired(played: Pcm, skew: float) -> Pcm:
    """What the microphone hears of a speaker whose clock is so much faster."""
    positions = (1 + skew) * np.arange(len(played) // FRAME * FRAME - RATE_HZ // 10, dtype=np.float64)
    return room(interpolate(played, positions))


@pytest.mark.parametrize(("skew", "callbacks_tell"), [(3e-4, 3e-4), (0.0, 4e-4)], ids=["true", "false"])
def test_the_far_end_goes_by_the_echo_whether_callbacks_tell_the_truth_or_not(
    skew: float, callbacks_tell: float
) -> None:
    played = voice(6.4)
    heard = aired(played, skew)
    far_end = FarEnd(RATE_HZ)
    processor = VoiceProcessor(RATE_HZ, FRAME, VoiceProcessing(noise_suppression=False))
    left = []
    for frame in range(len(heard) // FRAME):
        at_s = (frame + 1) * FRAME / RATE_HZ
        block = played[frame * FRAME : (frame + 1) * FRAME]
        far_end.played([block], FRAME / RATE_HZ, at_s * (1 - callbacks_tell))
        far_end.heard(FRAME / RATE_HZ, at_s)
        mic = heard[frame * FRAME : (frame + 1) * FRAME]
        left.append(processor.process(mic, far_end.take(FRAME)))
        if processor.timing is not None:
            far_end.heard_echo(processor.timing)
    assert far_end.drift_ppm == pytest.approx(skew * 1e6, abs=20)
    last = slice(-2 * RATE_HZ, None)
    assert softer_db(heard[: len(left) * FRAME][last], np.concatenate(left)[last]) > 35
