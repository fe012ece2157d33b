"""Whom a session belongs to, and how often each client may open one. Without I/O.

A client is an API key where the worker knows keys, else the name in its certificate where mutual TLS asks for one, else
the address that it connects from. Behind a load balancer all clients share one address, so limits on addresses are for
workers that edges reach directly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon_cloud.errors import Refusal, RefusedError

CLIENTS_KEPT = 4096  # whose opens are remembered; those at rest are forgotten first, and lose nothing by it
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one client may have; None is no limit."""

    sessions: int | None = None  # at once
    opens_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Who opens sessions."""

    name: str  # as it stands in a sentence, such as "the API key kitchen"
    allowance: Allowance = field(default_factory=Allowance)
    proven: bool = False
    """Whether a key or a certificate proves the name; an address may change under an edge that moves."""


ANYONE = Client("anyone")


class OpenRate:
    """A token bucket for each client: a minute's opens at once at the most, refilled evenly.

    It is kept as one number, the time when the bucket will be full: the generic cell rate algorithm (ITU-T I.371).
    """

    def __init__(self) -> None:
        self._full_s: dict[str, float] = {}

    def __len__(self) -> int:
        """Clients that are remembered."""
        return len(self._full_s)

    def take(self, client: Client, now_s: float) -> None:
        """Counts one open.

        Raises:
            RefusedError: `client` has opened too many; the error says when the next may come.
        """
        opens_per_minute = client.allowance.opens_per_minute
        if opens_per_minute is None:
            return
        interval_s = MINUTE_S / opens_per_minute
        full_s = max(self._full_s.get(client.name, now_s), now_s) + interval_s
        # A limit below one a minute still lets one through when the bucket is full.
        over_s = full_s - now_s - max(MINUTE_S, interval_s)
        if over_s > 1e-9 * MINUTE_S:
            raise RefusedError(
                Refusal.OPEN_RATE,
                f"{client.name} opens more than {opens_per_minute:g} sessions a minute: wait {over_s:.1f} s",
                over_s,
            )
        self._full_s[client.name] = full_s
        if len(self._full_s) > CLIENTS_KEPT:
            self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        """Drops full buckets; where none is full, the fullest half."""
        by_fullness = sorted(self._full_s.items(), key=lambda item: item[1])
        kept = [item for item in by_fullness if item[1] > now_s][-CLIENTS_KEPT // 2 :]
        self._full_s = dict(kept)
