"""WebRTC's audio processing, where it is installed."""

from __future__ import annotations

from typing import Any

from antiphon_edge.errors import AudioDeviceError


def audio_processor() -> Any:
    """The class `AudioProcessor` of pywebrtc-audio.

    Raises:
        AudioDeviceError: it is not installed.
    """
    try:
        from pywebrtc_audio import AudioProcessor
    except ImportError as error:
        raise AudioDeviceError(
            f"nothing takes the speaker's echo and noise out of the microphone ({error}): pip install "
            "'antiphon[audio]', or use headphones and --headphones --no-ns"
        ) from None
    return AudioProcessor
