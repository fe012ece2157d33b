"""The microphone's signal, cleaned: what the speaker played goes first, then noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antiphon_edge.audio.echo.remover import EchoRemover
from antiphon_edge.audio.echo.timing import EchoTiming
from antiphon_edge.audio.echo.webrtc import audio_processor
from antiphon_edge.audio.pcm import Pcm

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
        frame_samples: of each call.
        processing: what it does.

    Raises:
        AudioDeviceError: pywebrtc-audio is not installed.
    """

    def __init__(self, sample_rate_hz: int, frame_samples: int, processing: VoiceProcessing | None = None) -> None:
        processing = VoiceProcessing() if processing is None else processing
        self._canceller = EchoRemover(sample_rate_hz, frame_samples) if processing.echo_cancellation else None
        self._cleaner: Any = None
        if processing.noise_suppression or processing.gain_control:
            self._cleaner = audio_processor()(
                sample_rate=sample_rate_hz,
                noise_suppression=processing.noise_suppression,
                ns_level=MODERATE,
                auto_gain_control=processing.gain_control,
                agc_max_gain_db=MOST_GAIN_DB,
            )

    @property
    def timing(self) -> EchoTiming | None:
        """When the echo in the last frame came; None where it does not tell."""
        return None if self._canceller is None else self._canceller.timing

    def process(self, mic: Pcm, far: Pcm) -> Pcm:
        """The near end alone, as many samples as `mic`; `mic` and `far` [N] have one length and stay as they are."""
        near = self._canceller.process(mic, far) if self._canceller is not None else mic
        cleaned: Pcm = near if self._cleaner is None else self._cleaner.process(near)
        return cleaned
