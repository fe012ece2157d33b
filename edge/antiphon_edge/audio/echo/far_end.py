"""What the speaker played, to be had by the time of the microphone: the reference of an echo canceller.

A microphone and a speaker have a clock each, and both lose samples. To count samples would part the two by 300 ms in an
hour, and by some more at each loss; no canceller works with that. So each block has a time, and the far end of a frame
is what went to the speaker while the frame came from the microphone. It is then early by what both devices hold, which
stays the same.

Callbacks tell the time, and on a busy machine they are late. Where the echo itself is heard it knows better: it tells
how fast the two clocks part (`skew`), and that the far end is where it should be, whatever callbacks say.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from antiphon_edge.audio.echo.clock import DeviceClock
from antiphon_edge.audio.echo.interpolation import TAPS, interpolate
from antiphon_edge.audio.echo.skew import EchoSkew
from antiphon_edge.audio.echo.timing import EchoTiming
from antiphon_edge.audio.pcm import Pcm

KEPT_S = 2.0
MARGIN_S = 0.03  # the speaker is given 20 ms at a time, and its last callback may be 10 ms late
JUMP_S = 0.005  # so far off, it begins anew where it should be
LEFT_S = 0.003  # so small an error is left: a canceller has learnt it, and would lose by a change
CORRECTION = 2e-5  # a larger one is taken out no faster than a canceller follows


class FarEnd:
    """The way from what a speaker plays to what a canceller is given. It belongs to the event loop.

    Args:
        sample_rate_hz: of both.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        self._speaker = DeviceClock(sample_rate_hz)
        self._microphone = DeviceClock(sample_rate_hz)
        self._samples: Pcm = np.zeros(0, np.float32)  # the last that were played; older ones are dropped
        self._latest: list[Pcm] = []  # after them, not joined yet
        self._dropped = 0  # before them
        self._given = 0  # all that were played
        self._taken = 0  # of the microphone
        self._position: float | None = None  # the next one of the speaker's
        self._echo_skew = EchoSkew()
        self._frame_samples = 0  # of the last call
        self._beside = 0.0  # samples from where the callbacks place it to where the echo does
        self.recentred = 0
        """Times that it began anew, since a device lost samples."""

    @property
    def drift_ppm(self) -> float:
        """By how many millionths the speaker's clock is faster than the microphone's."""
        return self._skew * 1e6

    @property
    def _skew(self) -> float:
        error = float(np.hypot(self._microphone.skew_error, self._speaker.skew_error))
        return self._echo_skew.beside(self._microphone.skew - self._speaker.skew, error)

    def speaker_began(self) -> None:
        """The speaker begins, or begins anew: what it had taken before and not played is never heard."""
        self._speaker.samples = float(self._given)

    def microphone_began(self) -> None:
        """The microphone begins, or begins anew: what it had brought before and made no whole frame is never taken."""
        self._taken = round(self._microphone.samples)

    def played(self, blocks: Iterable[Pcm], duration_s: float, time_s: float) -> None:
        """The speaker took these samples, [N] each.

        Args:
            blocks: all that left the playout buffer.
            duration_s: of what the device took, by its own rate; a resampler between the two holds some back.
            time_s: when it did.
        """
        for block in blocks:
            self._latest.append(block)
            self._given += len(block)
        if self._given - self._dropped > 2 * KEPT_S * self._rate_hz:  # nobody takes any
            self._join()
        self._speaker.passed(duration_s * self._rate_hz, time_s)

    def heard(self, duration_s: float, time_s: float) -> None:
        """The microphone brought so much, by its own rate, at `time_s`."""
        self._microphone.passed(duration_s * self._rate_hz, time_s)

    def heard_echo(self, timing: EchoTiming) -> None:
        """The echo of what was taken last came at this time, and so was about where it was expected."""
        if self._position is not None:
            self._echo_skew.learn(timing, self._frame_samples)
            if timing.moved:
                self._position -= timing.late_samples
            self._beside = self._position - self._due(self._taken)

    def take(self, samples: int) -> Pcm:
        """What was played beside the microphone's next `samples` samples; silence where nothing was."""
        self._join()
        first = self._taken
        self._taken += samples
        if not (self._speaker.known and self._microphone.known):
            return np.zeros(samples, np.float32)
        due = self._due(first) + self._beside
        if self._position is None or abs(due - self._position) > JUMP_S * self._rate_hz:
            self.recentred += self._position is not None
            self._position = due
        advance = 1 + self._skew
        if abs(due - self._position) > LEFT_S * self._rate_hz:
            advance += CORRECTION if due > self._position else -CORRECTION
        self._frame_samples = samples
        self._echo_skew.ran(self._position - first)
        positions = self._position + advance * np.arange(samples, dtype=np.float64) - self._dropped
        self._position += advance * samples
        if positions[0] < -TAPS and positions[-1] < -TAPS:
            return np.zeros(samples, np.float32)
        return interpolate(self._samples, positions)

    def _join(self) -> None:
        """Puts the latest blocks to the samples, once a frame, and drops what is too old."""
        self._samples = np.concatenate((self._samples, *self._latest))[-round(KEPT_S * self._rate_hz) :]
        self._latest.clear()
        self._dropped = self._given - len(self._samples)

    def _due(self, sample: int) -> float:
        """Where the speaker was when the microphone was at `sample`."""
        return self._speaker.sample_at(self._microphone.time_of(sample) - MARGIN_S)
