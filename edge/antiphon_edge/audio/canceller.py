"""The microphone's signal, cleaned: what the speaker played goes first, then noise.

Two cancellers hear the same. WebRTC's takes an echo out to the last of it, clipped by the loudspeaker or not, but cuts
pieces out of a person who speaks at the same time. A linear filter leaves a person whole and some 35 dB of the echo
below; the person hides that. So the first is heard while nobody speaks, and the second while somebody does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from antiphon_edge.audio.double_talk import DoubleTalkDetector
from antiphon_edge.audio.linear_filter import LinearEchoFilter
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.errors import AudioDeviceError

WEBRTC_DELAY_S = 224 / 24_000  # of its filter bank
FADE_MS = 5  # from one canceller to the other
MODERATE = 1  # of WebRTC's four levels of noise suppression: 12 dB; more makes speech harder to understand
MOST_GAIN_DB = 18.0


@dataclass(frozen=True, slots=True)
class VoiceProcessing:
    """What is done to a microphone's signal."""

    echo_cancellation: bool = True
    noise_suppression: bool = True
    gain_control: bool = False
    """Off: it raises what is left of an echo as much as a voice."""

    def __bool__(self) -> bool:
        return self.echo_cancellation or self.noise_suppression or self.gain_control


class VoiceProcessor:
    """Cleans one microphone's signal; an `EchoCanceller`. With all of it the signal comes 17 ms later.

    Args:
        sample_rate_hz: of both signals.
        processing: what it does.

    Raises:
        AudioDeviceError: pywebrtc-audio is not installed.
    """

    def __init__(self, sample_rate_hz: int, processing: VoiceProcessing | None = None) -> None:
        processing = processing or VoiceProcessing()
        self._canceller = _EchoRemover(sample_rate_hz) if processing.echo_cancellation else None
        self._cleaner: Any = None
        if processing.noise_suppression or processing.gain_control:
            self._cleaner = _audio_processor()(
                sample_rate=sample_rate_hz,
                noise_suppression=processing.noise_suppression,
                ns_level=MODERATE,
                auto_gain_control=processing.gain_control,
                agc_max_gain_db=MOST_GAIN_DB,
            )

    def process(self, mic: Pcm, far: Pcm) -> Pcm:
        """The near end alone, as many samples as `mic`; `mic` and `far` [N] have one length and stay as they are."""
        near = self._canceller.process(mic, far) if self._canceller is not None else mic
        cleaned: Pcm = near if self._cleaner is None else self._cleaner.process(near)
        return cleaned


class _EchoRemover:
    """Both cancellers, and the choice between them."""

    def __init__(self, sample_rate_hz: int) -> None:
        # WebRTC gets no hint of the delay: it finds it by itself, and a hint that is too long would mislead it.
        self._webrtc: Any = _audio_processor()(sample_rate=sample_rate_hz, echo_cancellation=True)
        self._linear = LinearEchoFilter(sample_rate_hz)
        self._detector = DoubleTalkDetector()
        self._line: Pcm = np.zeros(round(WEBRTC_DELAY_S * sample_rate_hz), np.float32)  # as late as WebRTC's
        fade = sample_rate_hz * FADE_MS // 1000
        self._ramp = np.minimum(1, np.arange(1, self._linear.block_samples + 1) / fade).astype(np.float32)
        self._share = 0.0  # of the linear filter in what is heard

    def process(self, mic: Pcm, far: Pcm) -> Pcm:
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


def _audio_processor() -> Any:
    try:
        from pywebrtc_audio import AudioProcessor
    except ImportError as error:
        raise AudioDeviceError(
            f"voice processing needs pywebrtc-audio, which is not here ({error}): pip install 'antiphon[edge,audio]'; "
            "or use headphones and --headphones --no-ns"
        ) from None
    return AudioProcessor
