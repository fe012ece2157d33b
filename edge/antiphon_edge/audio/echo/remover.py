"""The echo, removed by two cancellers that hear the same.

WebRTC's takes an echo out to the last of it, clipped by the loudspeaker or not, but cuts pieces out of a person who
speaks at the same time. A linear filter leaves a person whole and some 35 dB of the echo below; the person hides that.
So the first is heard while nobody speaks, and the second while somebody does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from antiphon_edge.audio.echo.double_talk import DoubleTalkDetector
from antiphon_edge.audio.echo.linear_filter import LinearEchoFilter
from antiphon_edge.audio.echo.webrtc import audio_processor
from antiphon_edge.audio.pcm import Pcm

WEBRTC_DELAY_S = 224 / 24_000  # of its filter bank
FADE_MS = 5  # from one canceller to the other


class EchoRemover:
    """Both cancellers, and the choice between them; an `EchoCanceller`. The signal comes 9 ms later.

    Args:
        sample_rate_hz: of both signals.

    Raises:
        AudioDeviceError: pywebrtc-audio is not installed.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        # WebRTC gets no hint of the delay: it finds it by itself, and a hint that is too long would mislead it.
        self._webrtc: Any = audio_processor()(sample_rate=sample_rate_hz, echo_cancellation=True)
        self._linear = LinearEchoFilter(sample_rate_hz)
        self._detector = DoubleTalkDetector()
        self._line: Pcm = np.zeros(round(WEBRTC_DELAY_S * sample_rate_hz), np.float32)  # as late as WebRTC's
        fade = sample_rate_hz * FADE_MS // 1000
        self._ramp = np.minimum(1, np.arange(1, self._linear.block_samples + 1) / fade).astype(np.float32)
        self._share = 0.0  # of the linear filter in what is heard

    def process(self, mic: Pcm, far: Pcm) -> Pcm:
        """The near end alone, as many samples as `mic`; `mic` and `far` [N] are whole blocks of 10 ms."""
        size = self._linear.block_samples
        assert len(mic) == len(far)
        assert len(mic) % size == 0, "whole blocks"
        out: Pcm = self._webrtc.process(mic, far)
        for start in range(0, len(mic), size):
            block = slice(start, start + size)
            out[block] = self._choose(mic[block], far[block], out[block])
        return out

    def _choose(self, mic: Pcm, far: Pcm, cancelled: Pcm) -> Pcm:
        echo = self._linear.echo(mic, far)
        rest = mic - echo
        line = np.concatenate((self._line, rest))
        self._line = line[len(rest) :]
        share = 1.0 if self._detector.is_near(mic, echo, rest) else 0.0
        blend = self._share + (share - self._share) * self._ramp
        self._share = share
        mixed: Pcm = blend * line[: len(rest)] + (1 - blend) * cancelled
        return mixed
