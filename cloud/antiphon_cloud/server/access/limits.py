"""Limits a client's rate of calls and opens, and its number of calls. Without I/O."""

from __future__ import annotations

from antiphon.serving.rates import Buckets
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.sessions.clients import Client

MINUTE_S = 60.0
STEPS_AN_OPEN = 1024  # of a prefill: 82 s of conversation
RETRY_S = 1.0  # retry delay of a client that found no place
CALLS_AT_ONCE_S = 2.0  # of calls may come at once: a fleet's edges return together


class OpenRate:
    """Limits how often each client opens or resumes sessions, with bursts of a minute's worth.

    A prefill costs the worker its steps: `STEPS_AN_OPEN` of them count as one more open.
    """

    def __init__(self) -> None:
        self._buckets = Buckets()

    def take(self, client: Client, now_s: float, opens: float = 1.0) -> None:
        """Counts one open, or work worth `opens` of them.

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
                everywhere=True,
            )


class CallRate:
    """Limits each client's calls.

    Each kind of call is counted separately, so that strangers at a load balancer's address take nothing from
    its health checks.
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
    """Places that clients share: each may hold as many as are left free, so that the next client finds one.

    Args:
        places: how many there are.
        what: plural noun of the holders, for the refusal.
    """

    def __init__(self, places: int, what: str) -> None:
        self.places = places
        self.what = what
        self._held: dict[str, int] = {}
        self._all = 0

    def check(self, client: Client) -> None:
        """Returns if `client` may have a place.

        Raises:
            RefusedError: it holds as many as are free, or none is free.
        """
        held = self._held.get(client.name, 0)
        if held >= self.places - self._all:
            message = f"{client.name} holds {held} {self.what}, as many as are left for others: try again later"
            raise RefusedError(Refusal.CALLS, message, RETRY_S)

    def take(self, client: Client) -> None:
        """Gives `client` a place, free or not. Call `check` first, except for a call that had a place before."""
        self._held[client.name] = self._held.get(client.name, 0) + 1
        self._all += 1

    def give_back(self, client: Client) -> None:
        """Frees the place."""
        self._all -= 1
        self._held[client.name] -= 1
        if not self._held[client.name]:
            del self._held[client.name]
