"""How often a client may do a thing. Without I/O."""

from __future__ import annotations

CLIENTS_KEPT = 4096  # that are remembered; idle ones are forgotten first and lose nothing


class Buckets:
    """A token bucket per name, refilled evenly.

    Each is one number, the time when it will be full: the generic cell rate algorithm (ITU-T I.371).
    """

    def __init__(self) -> None:
        self._full_s: dict[str, float] = {}

    def __len__(self) -> int:
        """The number of names."""
        return len(self._full_s)

    def take(self, name: str, interval_s: float, burst_s: float, now_s: float) -> float:
        """Takes one token. Returns 0 if there was one, else the seconds until there is.

        Args:
            name: the bucket's.
            interval_s: between two tokens.
            burst_s: the bucket's capacity as a time; it holds at least one token.
            now_s: the time.
        """
        full_s = max(self._full_s.get(name, now_s), now_s) + interval_s
        over_s = full_s - now_s - max(burst_s, interval_s)
        if over_s > 1e-9 * burst_s:
            return over_s
        self._full_s[name] = full_s
        if len(self._full_s) > CLIENTS_KEPT:
            self._forget(now_s)
        return 0.0

    def _forget(self, now_s: float) -> None:
        """Drops full buckets; if none is full, the fullest half."""
        by_fullness = sorted(self._full_s.items(), key=lambda item: item[1])
        kept = [item for item in by_fullness if item[1] > now_s][-CLIENTS_KEPT // 2 :]
        self._full_s = dict(kept)
