"""Where a frame's time goes: encode, network, wait, step, decode."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from antiphon_edge.client.events import Totals

FRAMES_KEPT = 1024  # of the latest frames: as many as the worker's own timings cover


def _recent() -> deque[float]:
    return deque(maxlen=FRAMES_KEPT)


@dataclass(slots=True)
class LatencyBreakdown:
    """Milliseconds of the latest frames in each part of their way.

    Wait, step and network are known once the session has ended.
    """

    encode_ms: deque[float] = field(default_factory=_recent)
    network_ms: deque[float] = field(default_factory=_recent)
    wait_ms: deque[float] = field(default_factory=_recent)
    step_ms: deque[float] = field(default_factory=_recent)
    round_trip_ms: deque[float] = field(default_factory=_recent)
    decode_ms: deque[float] = field(default_factory=_recent)

    def add_timings(self, totals: Totals | None) -> None:
        """Splits the round trips by the worker's own times, where the session asked for them."""
        if totals is None or not totals.wait_us or len(totals.wait_us) != len(self.round_trip_ms):
            return
        self.wait_ms.extend(us / 1e3 for us in totals.wait_us)
        self.step_ms.extend(us / 1e3 for us in totals.step_us)
        parts = zip(self.round_trip_ms, self.wait_ms, self.step_ms, strict=True)
        self.network_ms.extend(whole - wait - step for whole, wait, step in parts)

    @classmethod
    def together(cls, sessions: Iterable[Self]) -> LatencyBreakdown:
        """The frames of several sessions as one."""
        merged = LatencyBreakdown(*(deque[float]() for _ in cls.__slots__))
        for session in sessions:
            for name in cls.__slots__:
                getattr(merged, name).extend(getattr(session, name))
        return merged

    def table(self) -> dict[str, tuple[float, float, float]]:
        """(p50, p95, p99) in milliseconds of every part that was measured, in a frame's order."""
        rows = {name.removesuffix("_ms").replace("_", " "): getattr(self, name) for name in self.__slots__}
        return {name: _percentiles(values) for name, values in rows.items() if values}


def format_table(rows: dict[str, tuple[float, float, float]]) -> str:
    """`LatencyBreakdown.table` as text."""
    lines = [f"{'hop (ms)':<12}{'p50':>9}{'p95':>9}{'p99':>9}"]
    lines += [f"{name:<12}" + "".join(f"{value:>9.2f}" for value in values) for name, values in rows.items()]
    return "\n".join(lines)


def _percentiles(values: Iterable[float]) -> tuple[float, float, float]:
    p50, p95, p99 = np.percentile(list(values), [50, 95, 99])
    return float(p50), float(p95), float(p99)
