"""Where a frame's time goes, hop by hop: encode, network, wait, step, decode."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from antiphon_edge.client import Totals

FRAMES_KEPT = 1024  # of the latest frames; what the worker's own timings cover


def _recent() -> deque[float]:
    return deque(maxlen=FRAMES_KEPT)


@dataclass(slots=True)
class Hops:
    """Milliseconds of the latest frames at each hop that the edge can see."""

    encode_ms: deque[float] = field(default_factory=_recent)
    round_trip_ms: deque[float] = field(default_factory=_recent)
    decode_ms: deque[float] = field(default_factory=_recent)

    def table(self, totals: Totals | None) -> dict[str, tuple[float, float, float]]:
        """(p50, p95, p99) in milliseconds by hop; with the worker's timings, the round trip's parts too."""
        rows = {"encode": list(self.encode_ms)}
        round_trip = np.array(self.round_trip_ms)
        if totals is not None and len(totals.wait_us) == len(round_trip) > 0:
            wait, step = np.array(totals.wait_us) / 1e3, np.array(totals.step_us) / 1e3
            rows |= {"network": list(round_trip - wait - step), "wait": list(wait), "step": list(step)}
        rows |= {"round trip": list(round_trip), "decode": list(self.decode_ms)}
        return {name: _percentiles(values) for name, values in rows.items() if values}


def format_table(rows: dict[str, tuple[float, float, float]]) -> str:
    """`Hops.table` as text."""
    lines = [f"{'hop (ms)':<12}{'p50':>9}{'p95':>9}{'p99':>9}"]
    lines += [f"{name:<12}" + "".join(f"{value:>9.2f}" for value in values) for name, values in rows.items()]
    return "\n".join(lines)


def _percentiles(values: list[float]) -> tuple[float, float, float]:
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return float(p50), float(p95), float(p99)
