"""Sound made shorter or longer without a click: it goes on where it is most like what would have come.

This is WSOLA (Verhelst and Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for high quality
time-scale modification of speech", 1993), a splice at a time.
"""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.pcm import Pcm

OVERLAP_MS = 10
SHORTEST_MS, LONGEST_MS = 2.5, 15.0  # the pitch periods of 400 and 66 Hz: one fits between, or a few
SILENT = 1e-5  # mean square, −50 dBFS: what a codec makes of silence stays below
SILENCE_STEP_MS = 5


class Splicer:
    """Cuts sound of one sample rate.

    Args:
        samples_per_ms: of the sound.
    """

    def __init__(self, samples_per_ms: float) -> None:
        self.overlap = round(OVERLAP_MS * samples_per_ms)
        """Samples that a splice fades over."""
        self.shortest, self.longest = round(SHORTEST_MS * samples_per_ms), round(LONGEST_MS * samples_per_ms)
        """How far a splice must be free to go for a good one."""
        self._step = round(SILENCE_STEP_MS * samples_per_ms)
        self._rise = np.linspace(0, 1, self.overlap + 2, dtype=np.float32)[1:-1]

    def best_lag(self, sound: Pcm, here: int, least: int, most: int) -> tuple[int, float]:
        """Where to go on from `here`: the lag in samples, and how alike the two places are, 1 at most.

        Args:
            sound: [n], with `overlap` samples from `here` on and from all that may be tried.
            here: the index of the next sample.
            least: the first lag to try; negative: back.
            most: the last one.
        """
        wanted = sound[here : here + self.overlap]
        found = sound[here + least : here + most + self.overlap]
        products = np.correlate(found, wanted)  # [most - least + 1]
        energy = np.concatenate(([0.0], np.cumsum(np.square(found, dtype=np.float64))))
        energies = energy[self.overlap :] - energy[: -self.overlap]
        likeness = products / np.sqrt(energies * float(wanted @ wanted) + 1e-9)
        best = int(likeness.argmax())
        return least + best, float(likeness[best])

    def splice(self, sound: Pcm, here: int, lag: int) -> Pcm:
        """What is heard from `here` on where the sound goes on `lag` samples further."""
        return self.fade(sound[here : here + self.overlap], sound[here + lag :])

    def fade(self, old: Pcm, new: Pcm) -> Pcm:
        """`new` [n], whose beginning fades in while `old` [up to `overlap`] fades out."""
        length = min(len(old), len(new))
        out = new.copy()
        rise = self._rise[:length] if length == self.overlap else np.linspace(0, 1, length + 2, dtype=np.float32)[1:-1]
        out[:length] = old[:length] + (new[:length] - old[:length]) * rise
        return out

    def silence(self, sound: Pcm) -> int:
        """How many samples at the beginning are silent, in steps of `SILENCE_STEP_MS`."""
        steps = len(sound) // self._step
        powers = np.square(sound[: steps * self._step]).reshape(steps, self._step).mean(1)  # [steps]
        loud = np.flatnonzero(powers > SILENT)
        return self._step * (int(loud[0]) if len(loud) else steps)
