"""Who calls when: people of three regions, awake at different hours, who talk for a minute or for long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DAY_S = 86_400.0
NIGHT = 0.25  # of the day's peak, at four in the morning
CROWD_S = 600.0  # of a crowd: something on television


@dataclass(frozen=True, slots=True)
class Kind:
    """Sessions of one kind: their share of all arrivals, and their mean duration; they are exponential."""

    share: float
    mean_s: float


KINDS = (Kind(0.6, 90.0), Kind(0.4, 900.0))
MEAN_S = sum(kind.share * kind.mean_s for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Demand:
    """Arrivals of a day.

    Args:
        offsets_h: of each region's clock from UTC.
        weights: of each region's people.
        peak_sessions: of all regions together, if they had their peak at once.
        crowd_at_s: when a crowd comes to the first region; None for none.
        crowd: by how much its arrivals grow.
    """

    offsets_h: tuple[float, ...] = (-6.0, 1.0, 8.0)
    weights: tuple[float, ...] = (0.35, 0.35, 0.3)
    peak_sessions: float = 800_000.0
    crowd_at_s: float | None = None
    crowd: float = 1.3

    def sessions(self, now_s: float) -> Floats:
        """Sessions of each region [regions], on average, that are under way at a time of the day in UTC."""
        hours = (now_s / 3600.0 + np.array(self.offsets_h)) % 24.0
        awake = NIGHT + (1 - NIGHT) * (0.5 - 0.5 * np.cos((hours - 4.0) / 24.0 * 2 * np.pi)) ** 0.8
        held: Floats = self.peak_sessions * np.array(self.weights) * awake
        if self.crowd_at_s is not None and 0 <= now_s - self.crowd_at_s < CROWD_S:
            held[0] *= self.crowd
        return held

    def rates(self, now_s: float) -> Floats:
        """Arrivals a second of each region [regions]."""
        return self.sessions(now_s) / MEAN_S
