"""What the room does to the speaker's sound, as a linear filter that is learnt while the two are heard.

It explains the last second in which the speaker played, by least squares, and begins each time where it ended before.
What a person says is no part of that: moments in which one is heard count little, and clipped samples nothing.
"""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.echo.double_talk import DoubleTalkDetector, powers
from antiphon_edge.audio.echo.least_squares import LeastSquares
from antiphon_edge.audio.pcm import Pcm

SPAN_MS = 240  # devices, air and reverberation
KEPT_MS = 1120  # of the time in which the speaker played
STEPS = 8  # a frame
LINGER = 12  # frames for which it goes on learning when the speaker falls silent
AUDIBLE = 1e-6  # power of a far end that teaches anything
CLIPPED = 0.98  # of full scale; no filter knows what is beyond


class LinearEchoFilter:
    """The echo of the speaker in the microphone, learnt as it goes.

    Args:
        sample_rate_hz: of both signals.
        frame_samples: of each call.
        detector: of persons.
    """

    def __init__(self, sample_rate_hz: int, frame_samples: int, detector: DoubleTalkDetector) -> None:
        span = sample_rate_hz * SPAN_MS // 1000
        kept = sample_rate_hz * KEPT_MS // 1000 // frame_samples * frame_samples
        self._detector = detector
        self._now = LeastSquares(span, frame_samples, sample_rate_hz)
        self._problem = LeastSquares(span, kept, sample_rate_hz)
        self._response: Pcm = np.zeros(span, np.float32)
        self._far: Pcm = np.zeros(span + kept, np.float32)  # while the speaker played, and for the span after it
        self._mic: Pcm = np.zeros(kept, np.float32)
        self._line: Pcm = np.zeros(span, np.float32)  # the far end before this frame
        self._lasts, self._lingers = -(-span // frame_samples), LINGER
        self._quiet = self._lasts + self._lingers  # frames since the far end was audible

    def echo(self, mic: Pcm, far: Pcm) -> Pcm:
        """The echo in a frame of the microphone; `mic`, `far` and it [frame_samples]."""
        line = np.concatenate((self._line, far))
        self._line = line[len(far) :]
        before = self._now.residual(self._response, mic, line)
        self._quiet = 0 if float(np.mean(far**2)) > AUDIBLE else self._quiet + 1
        if self._quiet >= self._lasts + self._lingers:
            return mic - before
        if self._quiet <= self._lasts:
            self._far = np.concatenate((self._far[len(far) :], far))
            self._mic = np.concatenate((self._mic[len(mic) :], mic))
        self._learn()
        echo = mic - self._now.residual(self._response, mic, line)
        if self._quiet <= self._lasts:
            self._detector.learn(powers(mic), powers(before), powers(echo))
        return echo

    def _learn(self) -> None:
        rest = self._problem.residual(self._response, self._mic, self._far)
        weights = self._detector.weights(powers(self._mic), powers(rest), powers(self._mic - rest))
        every = np.repeat(weights, len(rest) // len(weights)) * (np.abs(self._mic) < CLIPPED)
        self._response = self._problem.refine(self._response, self._mic, self._far, every.astype(np.float32), STEPS)
