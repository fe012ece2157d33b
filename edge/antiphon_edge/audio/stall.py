"""How long a device has been silent while this process was awake to hear it."""

from __future__ import annotations

from collections.abc import Callable

STALL_S = 2.0  # without a sign of the device: it has gone
LOOK_S = 0.25  # between two looks


class Stall:
    """Counts a device's silence. A machine that was suspended, or a process that was stopped, could not hear the device
    meanwhile, and the device may wake later than we do: between two looks no more than two of their intervals count.

    Args:
        clock: seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._silent_s = 0.0
        self._looked_s = clock()

    def heard(self) -> None:
        """The device gave a sign."""
        self._silent_s = 0.0
        self._looked_s = self._clock()

    def look(self) -> float:
        """The seconds of silence that were watched; to be called each `LOOK_S` or so."""
        now_s = self._clock()
        self._silent_s += min(now_s - self._looked_s, 2 * LOOK_S)
        self._looked_s = now_s
        return self._silent_s
