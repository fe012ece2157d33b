"""A soft rush of sound before a conversation, by which the echo canceller learns the room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import numpy as np

from antiphon_edge.audio.pcm import Pcm

SOUND_S = 0.6
SILENCE_S = 0.4  # the last of it comes round, and the room falls silent
LEVEL_DBFS = -28.0
SLOPE_HZ = 300.0  # from here on pink, as speech is
FADE_S = 0.02


def tuning_sound(sample_rate_hz: int) -> Pcm:
    """Noise [N] that holds all pitches at once, and the silence after it; the same each time."""
    samples = round(SOUND_S * sample_rate_hz)
    pitch_hz = np.fft.rfftfreq(samples, 1 / sample_rate_hz)
    white = np.fft.rfft(np.random.default_rng(5).standard_normal(samples))
    noise = np.fft.irfft(white / np.sqrt(np.maximum(1, pitch_hz / SLOPE_HZ)), samples)
    noise *= 10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(noise**2))
    edge = np.minimum(np.arange(samples), np.arange(samples)[::-1]) / (FADE_S * sample_rate_hz)
    return np.pad(noise * np.minimum(1, edge), (0, round(SILENCE_S * sample_rate_hz))).astype(np.float32)


async def tune(microphone: AsyncIterator[Pcm], speaker: Callable[[Pcm], None], sample_rate_hz: int) -> None:
    """Plays the sound, a frame for each frame that the microphone hears; the model hears none of them.

    Args:
        microphone: frames that an echo canceller has cleaned.
        speaker: takes frames and returns at once.
        sample_rate_hz: of both.
    """
    sound = tuning_sound(sample_rate_hz)
    while len(sound):
        heard = await anext(microphone)
        speaker(sound[: len(heard)])
        sound = sound[len(heard) :]
