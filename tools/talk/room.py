"""A simulated room: what a microphone hears of a loudspeaker beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from antiphon_edge.audio.pcm import Pcm

RATE = 24_000
TAIL_MS = 100.0  # of reverberation after the direct sound
TAIL_DB = -10.0  # its energy beside the direct sound's


@dataclass(frozen=True)
class Echo:
    """How a loudspeaker comes back.

    Attributes:
        gain_db: from what is played to what the microphone hears of it; None for no echo.
        delay_ms: from the playout to the microphone, devices and air together.
        drive: the loudspeaker's clipping, tanh(drive · x) / drive; 0 for none.
        noise_dbfs: of the microphone's own noise; None for none.
        skew_ppm: by how much faster the speaker's clock is than the microphone's.
    """

    gain_db: float | None = 0.0
    delay_ms: float = 65.0
    drive: float = 0.0
    noise_dbfs: float | None = None
    skew_ppm: float = 0.0

    def __str__(self) -> str:
        if self.gain_db is None:
            return "no echo"
        words = [f"{self.gain_db:+.0f} dB"]
        words += [f"{self.delay_ms:.0f} ms"] if self.delay_ms != 65 else []
        words += [f"tanh ×{self.drive:.0f}"] if self.drive else []
        words += [f"noise {self.noise_dbfs:.0f} dBFS"] if self.noise_dbfs is not None else []
        words += [f"{self.skew_ppm:+.0f} ppm"] if self.skew_ppm else []
        return ", ".join(words)


class Room:
    """The air between a loudspeaker and a microphone: what was played goes in, what the microphone hears of it out.

    Args:
        echo: how the loudspeaker comes back.
        seed: of the reverberation and of the noise.
    """

    def __init__(self, echo: Echo, seed: int = 0) -> None:
        self._echo = echo
        rng = np.random.default_rng([seed, 1])
        self._noise = np.random.default_rng([seed, 2])
        taps = round(TAIL_MS * RATE / 1000)
        tail = rng.standard_normal(taps) * np.exp(-np.linspace(0, 5, taps))
        tail *= 10 ** (TAIL_DB / 20) / np.sqrt((tail**2).sum())
        gain = 0.0 if echo.gain_db is None else 10 ** (echo.gain_db / 20)
        self._response = gain * np.concatenate((np.ones(1), tail))  # [taps]
        self._delay = round(echo.delay_ms * RATE / 1000)
        self._aired = np.zeros(self._delay + len(self._response) - 1)  # what is still on its way

    def hear(self, played: Pcm) -> Pcm:
        """What the microphone hears while `played` [N] is played: its echoes up to now, and noise."""
        drive = self._echo.drive
        aired = np.tanh(drive * played) / drive if drive else played
        line = np.concatenate((self._aired, aired))
        self._aired = line[len(played) :]
        reach = len(self._response) - 1 + len(played)
        size = 1 << (reach + len(self._response)).bit_length()
        spectrum = np.fft.rfft(line[:reach], size) * np.fft.rfft(self._response, size)
        heard = np.fft.irfft(spectrum, size)[len(self._response) - 1 : reach]
        if self._echo.noise_dbfs is not None:
            heard = heard + 10 ** (self._echo.noise_dbfs / 20) * self._noise.standard_normal(len(heard))
        return heard.astype(np.float32)
