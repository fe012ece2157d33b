"""The echo, removed by two cancellers that hear the same.

WebRTC's takes an echo out to the last of it, clipped by the loudspeaker or not, but cuts pieces out of a person who
speaks at the same time. A linear filter leaves a person whole and some 35 dB of the echo below; the person hides that.
So the second is heard while somebody speaks, and while nobody does the one that leaves less.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from antiphon_edge.audio.echo.double_talk import BLOCK, DoubleTalkDetector, Flags, powers
from antiphon_edge.audio.echo.linear_filter import CLIPPED, LinearEchoFilter
from antiphon_edge.audio.echo.timing import EchoTiming
from antiphon_edge.audio.echo.webrtc import audio_processor
from antiphon_edge.audio.pcm import Pcm

WEBRTC_DELAY_S = 224 / 24_000  # of its filter bank
FADE_MS = 5  # from one canceller to the other


class EchoRemover:
    """Both cancellers, and the choice between them; an `EchoCanceller`. The signal comes 9 ms later.

    Args:
        sample_rate_hz: of both signals.
        frame_samples: of each call.

    Raises:
        AudioDeviceError: pywebrtc-audio is not installed.
    """

    def __init__(self, sample_rate_hz: int, frame_samples: int) -> None:
        # WebRTC gets no hint of the delay: it finds it by itself, and a hint that is too long would mislead it.
        self._webrtc: Any = audio_processor()(sample_rate=sample_rate_hz, echo_cancellation=True)
        self._detector = DoubleTalkDetector()
        self._linear = LinearEchoFilter(sample_rate_hz, frame_samples, self._detector)
        self._line: Pcm = np.zeros(round(WEBRTC_DELAY_S * sample_rate_hz), np.float32)  # as late as WebRTC's
        self._fade = sample_rate_hz * FADE_MS // 1000
        self._share = 0.0  # of the linear filter in what is heard

    @property
    def timing(self) -> EchoTiming | None:
        """When the echo in the last frame came; None where it does not tell."""
        return self._linear.timing

    def process(self, mic: Pcm, far: Pcm) -> Pcm:
        """The near end alone, as many samples as `mic`; `mic` and `far` [N] are a frame each."""
        echo = self._linear.echo(mic, far)
        rest = mic - echo
        line = np.concatenate((self._line, rest))
        self._line = line[len(rest) :]
        linear, cancelled = line[: len(rest)], self._webrtc.process(mic, far)
        clipped = np.abs(mic).reshape(-1, BLOCK).max(1) >= CLIPPED
        near = self._detector.is_near(powers(rest), powers(echo), clipped)
        share = self._shares(near | (powers(linear) < powers(cancelled)))  # the softer one holds less of the echo
        mixed: Pcm = share * linear + (1 - share) * cancelled
        return mixed

    def _shares(self, linear: Flags) -> Pcm:
        """Of the linear filter in each sample of what is heard."""
        step = 1 / self._fade
        shares = []
        for wanted in linear:
            ramp = self._share + (float(wanted) - self._share) * np.minimum(1, np.arange(1, BLOCK + 1) * step)
            self._share = float(ramp[-1])
            shares.append(ramp)
        return np.concatenate(shares).astype(np.float32)
