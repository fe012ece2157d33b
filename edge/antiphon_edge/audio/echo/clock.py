"""When a device's samples pass, on the clock of this machine: a rate that drifts, found in callbacks that are late.

No I/O and no time of its own: whoever has the device says how many samples have passed, and when.
"""

from __future__ import annotations

from collections import deque

import numpy as np

BIN_S = 0.25  # of callbacks: the earliest of them counts, since a busy machine makes them late and never early
KEPT_BINS = 480  # 2 minutes: the rate is then known to a few millionths
KNOWN_BINS = 4  # fewer tell nothing about how they scatter,
LEAST_SPREAD_S = 2e-5  # which is at least so much
JUMP_S = 0.004  # two bins in a row so far off: samples were lost, or a device began anew
TOGETHER = 5.0  # times as far off as bins that are late independently of each other
USUAL_SKEW = 1e-4  # of a crystal
MOST_SKEW = 2e-3  # of a clock that is none


class DeviceClock:
    """The line from a device's samples to seconds, kept near the last minutes' callbacks.

    Samples that a device lost move the line, and leave its slope: within half a second it is right again.

    Args:
        rate_hz: what the device says of its rate.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._start_s: float | None = None
        self._bins: deque[tuple[float, float]] = deque(maxlen=KEPT_BINS)  # nominal seconds, and how late it was
        self._bin: tuple[float, float] | None = None
        self._bin_end_s = BIN_S
        self._offset_s, self._slope = 0.0, 0.0  # late by `_offset_s + _slope · (nominal seconds − _middle_s)`
        self._middle_s = 0.0
        self._slope_error = USUAL_SKEW
        self._off: list[float] = []
        self.samples = 0.0
        """That have passed."""
        self.jumps = 0
        """Times that samples were lost."""

    @property
    def known(self) -> bool:
        """Whether there is a line yet."""
        return self._start_s is not None

    @property
    def skew(self) -> float:
        """By how much longer its samples last than its rate says: 1e-6 for a millionth."""
        return self._slope

    @property
    def skew_error(self) -> float:
        """The standard error of `skew`; a busy machine is late for seconds on end, so it is no small one."""
        return self._slope_error

    def passed(self, samples: float, time_s: float) -> None:
        """So many more samples have passed by `time_s`."""
        self.samples += samples
        nominal_s = self.samples / self._rate_hz
        if self._start_s is None:
            self._start_s = time_s - nominal_s
        late_s = time_s - self._start_s - nominal_s
        if self._bin is None or late_s < self._bin[1]:
            self._bin = (nominal_s, late_s)
        if not self._bins and not self._off:  # nothing better yet
            self._offset_s, self._middle_s = self._bin[1], nominal_s
        if nominal_s >= self._bin_end_s:
            self._bin_end_s = nominal_s + BIN_S
            self._close(*self._bin)
            self._bin = None

    def time_of(self, sample: float) -> float:
        """When this sample passed, or will."""
        assert self._start_s is not None, "nothing has passed"
        nominal_s = sample / self._rate_hz
        return self._start_s + nominal_s + self._late_s(nominal_s)

    def sample_at(self, time_s: float) -> float:
        """Which sample passes at `time_s`, with its fraction."""
        assert self._start_s is not None, "nothing has passed"
        since_s = time_s - self._start_s - self._offset_s + self._slope * self._middle_s
        return since_s / (1 + self._slope) * self._rate_hz

    def _late_s(self, nominal_s: float) -> float:
        return self._offset_s + self._slope * (nominal_s - self._middle_s)

    def _close(self, nominal_s: float, late_s: float) -> None:
        off_s = late_s - self._late_s(nominal_s)
        if self._bins and abs(off_s) > JUMP_S:
            self._off.append(off_s)
            if len(self._off) < 2 or self._off[-1] * self._off[-2] < 0:
                return  # one late bin is a machine that was busy
            jump_s = min(self._off[-2:], key=abs)
            self._bins = deque(((at_s, late + jump_s) for at_s, late in self._bins), maxlen=KEPT_BINS)
            self.jumps += 1
        self._off.clear()
        self._bins.append((nominal_s, late_s))
        self._fit()

    def _fit(self) -> None:
        """A line through the bins: ridge regression, for which crystals are near their rate until the bins say more."""
        at_s, late_s = np.array(self._bins).T
        self._middle_s = float(at_s.mean())
        around = at_s - self._middle_s
        off = late_s - self._slope * around
        off -= np.median(off)
        usual = np.abs(off) < JUMP_S
        if not usual.any():  # two bins that are far apart: the machine stood still between them
            return
        around, late_s = around[usual], late_s[usual]
        spread_s = max(LEAST_SPREAD_S, 1.5 * float(np.median(np.abs(off)))) if len(off) >= KNOWN_BINS else JUMP_S / 4
        offset, mean = float(late_s.mean()), float(around.mean())
        covered = float(((around - mean) ** 2).sum()) + (spread_s / USUAL_SKEW) ** 2
        slope = float(((around - mean) * (late_s - offset)).sum()) / covered
        self._slope_error = TOGETHER * spread_s / float(np.sqrt(covered))
        self._slope = float(np.clip(slope, -MOST_SKEW, MOST_SKEW))
        self._offset_s = offset - self._slope * mean
