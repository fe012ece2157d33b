"""How often a client may call and open sessions, and how many calls it may have. Without I/O."""

from __future__ import annotations

from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.sessions.clients import Client

CLIENTS_KEPT = 4096  # whose calls are remembered; those at rest are forgotten first, and lose nothing by it
MINUTE_S = 60.0
STEPS_AN_OPEN = 1024  # of a prefill: 82 s of conversation
RETRY_S = 1.0  # after which one who found no place may look again
CALLS_AT_ONCE_S = 2.0  # of calls may come in one moment: a fleet's edges return together


class Buckets:
    """A token bucket for each of many names, refilled evenly.

    It is kept as one number, the time when the bucket will be full: the generic cell rate algorithm (ITU-T I.371).
    """

    def __init__(self) -> None:
        self._full_s: dict[str, float] = {}

    def __len__(self) -> int:
        """Names that are remembered."""
        return len(self._full_s)

    def take(self, name: str, interval_s: float, burst_s: float, now_s: float) -> float:
        """Takes one token; 0 where there was one, else the seconds until there is.

        Args:
            name: whose bucket.
            interval_s: in which one token comes.
            burst_s: in which as many come as the bucket holds; one, where that is less than `interval_s`.
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
        """Drops full buckets; where none is full, the fullest half."""
        by_fullness = sorted(self._full_s.items(), key=lambda item: item[1])
        kept = [item for item in by_fullness if item[1] > now_s][-CLIENTS_KEPT // 2 :]
        self._full_s = dict(kept)


class OpenRate:
    """How often each client opens or resumes sessions: a minute's worth at once at the most.

    A prefill costs the worker what its steps do: `STEPS_AN_OPEN` of them count as one more open.
    """

    def __init__(self) -> None:
        self._buckets = Buckets()

    def take(self, client: Client, now_s: float, opens: float = 1.0) -> None:
        """Counts one open, or what costs as much as `opens` of them.

        Raises:
            RefusedError: `client` has opened too many; the error says when the next may come.
        """
        opens_per_minute = client.allowance.opens_per_minute
        if opens_per_minute is None:
            return
        if over_s := self._buckets.take(client.name, opens * MINUTE_S / opens_per_minute, MINUTE_S, now_s):
            raise RefusedError(
                Refusal.OPEN_RATE,
                f"{client.name} opens more than {opens_per_minute:g} sessions a minute: wait {over_s:.1f} s",
                over_s,
            )


class CallRate:
    """How often each client calls.

    Each kind of call is counted by itself, so that strangers who share an address with a load balancer take nothing
    from its health checks.
    """

    def __init__(self) -> None:
        self._buckets = Buckets()

    def take(self, client: Client, kind: str, now_s: float) -> None:
        """Counts one call.

        Raises:
            RefusedError: `client` calls too often; the error says when the next may come.
        """
        calls_per_second = client.allowance.calls_per_second
        if calls_per_second is None:
            return
        if over_s := self._buckets.take(f"{kind} {client.name}", 1 / calls_per_second, CALLS_AT_ONCE_S, now_s):
            raise RefusedError(
                Refusal.CALL_RATE, f"{client.name} makes more than {calls_per_second:g} calls a second: wait", over_s
            )


class Shares:
    """Places that clients share: each may hold as many as are left free, so that there is always one for the next.

    Args:
        places: how many there are.
        what: holds one, in the plural, for the sentence that refuses.
    """

    def __init__(self, places: int, what: str) -> None:
        self.places = places
        self.what = what
        self._held: dict[str, int] = {}
        self._all = 0

    def check(self, client: Client) -> None:
        """Returns where `client` may have a place.

        Raises:
            RefusedError: it holds as many as are left, or all are taken.
        """
        held = self._held.get(client.name, 0)
        if held >= self.places - self._all:
            message = f"{client.name} holds {held} {self.what}, as many as are left for others: try again later"
            raise RefusedError(Refusal.CALLS, message, RETRY_S)

    def take(self, client: Client) -> None:
        """Gives `client` a place, free or not: `check` comes first, but for a call that had a place before."""
        self._held[client.name] = self._held.get(client.name, 0) + 1
        self._all += 1

    def give_back(self, client: Client) -> None:
        """The place is free again."""
        self._all -= 1
        self._held[client.name] -= 1
        if not self._held[client.name]:
            del self._held[client.name]
