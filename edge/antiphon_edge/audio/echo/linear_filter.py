"""What the loudspeaker and the room do to the speaker's sound, learnt while the two are heard.

A linear filter explains the last second in which the speaker played, by least squares, and begins each time where it
ended before. What it leaves tells how the loudspeaker flattens what is loud. What a person says is no part of that:
moments in which one is heard count little, and clipped samples nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from antiphon_edge.audio.echo.double_talk import DoubleTalkDetector, powers
from antiphon_edge.audio.echo.least_squares import LeastSquares, emphasised, regress
from antiphon_edge.audio.echo.loudspeaker import CURVES, Loudspeaker, curves
from antiphon_edge.audio.echo.timing import EchoTiming, echo_timing, moved
from antiphon_edge.audio.pcm import Pcm

SPAN_MS = 240  # devices, air and reverberation
KEPT_MS = 1120  # of the time in which the speaker played
STEPS, FEW_STEPS = 8, 4  # a frame, until the room is known and then
KNOWN_LEAK = 1e-3  # of the echo, which a filter that knows the room leaves
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
        self._loudspeaker = Loudspeaker()
        self._far: Pcm = np.zeros((CURVES, span + kept), np.float32)  # while the speaker played, and a span after it
        self._mic: Pcm = np.zeros(kept, np.float32)
        self._line: Pcm = np.zeros((CURVES, span), np.float32)  # of the far end before this frame
        self.timing: EchoTiming | None = None
        """When the echo in the last frame came; None where it does not tell."""
        self._frame = 0
        self._told: deque[tuple[int, float]] = deque(maxlen=kept // frame_samples)  # number and power of kept frames
        self._lasts, self._lingers = -(-span // frame_samples), LINGER
        self._quiet = self._lasts + self._lingers  # frames since the far end was audible
        self._begins = False  # the speaker, after a silence: no echo has been found yet

    @property
    def learnt(self) -> list[tuple[int, float]]:
        """How many frames ago those were that it has learnt from, and how much each told."""
        return [(self._frame - number, power) for number, power in self._told if power > 0]

    def echo(self, mic: Pcm, far: Pcm) -> Pcm:
        """The echo in a frame of the microphone; `mic`, `far` and it [frame_samples]."""
        self._frame += 1
        self._begins = self._begins or self._quiet > self._lasts
        given, line, before = self._expect(mic, far)
        self.timing = echo_timing(mic, mic - before, self.learnt)
        if self.timing is not None and self._begins:
            self._begins = False
            if self.timing.is_sure:  # clocks have drifted in the silence: what is learnt holds beside a far end moved
                self.timing = replace(self.timing, moved=True)
                given, line, before = self._expect(mic, moved(far, self.timing.late_samples))
        self._line = line[:, len(far) :]
        self._quiet = 0 if float(np.mean(far**2)) > AUDIBLE else self._quiet + 1
        if self._quiet >= self._lasts + self._lingers:
            return mic - before
        if self._quiet <= self._lasts:
            self._far = np.concatenate((self._far[:, len(far) :], given), 1)
            self._mic = np.concatenate((self._mic[len(mic) :], mic))
        self._learn()
        echo = mic - self._now.residual(self._response, mic, self._loudspeaker.played(line))
        if self._quiet <= self._lasts:
            self._told.append((self._frame, float((echo**2).mean())))
            self._detector.learn(powers(mic), powers(before), powers(echo))
        return echo

    def _expect(self, mic: Pcm, far: Pcm) -> tuple[Pcm, Pcm, Pcm]:
        """The curves of the far end, the same with what was before it, and what is left of the microphone's frame."""
        given = curves(far)
        line = np.concatenate((self._line, given), 1)
        return given, line, self._now.residual(self._response, mic, self._loudspeaker.played(line))

    def _learn(self) -> None:
        far = self._loudspeaker.played(self._far)
        rest = self._problem.residual(self._response, self._mic, far)
        blocks = self._detector.weights(powers(self._mic), powers(rest), powers(self._mic - rest))
        weights = np.repeat(blocks, len(rest) // len(blocks)) * (np.abs(self._mic) < CLIPPED)
        steps = FEW_STEPS if self._detector.leak < KNOWN_LEAK else STEPS
        self._response = self._problem.refine(self._response, self._mic, far, weights, steps)
        echoes = self._problem.echoes(self._response, self._far)
        more = regress(emphasised(self._mic) - self._loudspeaker.shares @ echoes, echoes, weights)
        self._response = self._response * np.float32(self._loudspeaker.learn(more, self._far))
