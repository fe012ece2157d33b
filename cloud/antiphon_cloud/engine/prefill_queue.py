"""Whose past is computed next: clients take turns, so that one with many sessions does not hold up the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class RebuildQueue(Generic[T]):
    """Sessions that wait to be rebuilt, a chunk a turn.

    Clients take turns. Of one client's sessions the one with the fewest steps left comes first, and of equals the one
    that came first: that is the order in which the mean wait is shortest (Schrage 1968).

    Args:
        left: the steps that a session still needs.
    """

    def __init__(self, left: Callable[[T], int]) -> None:
        self._left = left
        self._by_client: OrderedDict[str, list[T]] = OrderedDict()  # whose turn it is comes first

    def __bool__(self) -> bool:
        return bool(self._by_client)

    def add(self, client: str, session: T) -> None:
        """Queues a session of `client`."""
        self._by_client.setdefault(client, []).append(session)

    def discard(self, client: str, session: T) -> None:
        """Drops a session, finished or not; nothing happens where it is not queued."""
        waiting = self._by_client.get(client, [])
        if session in waiting:
            waiting.remove(session)
            if not waiting:
                del self._by_client[client]

    def next(self) -> T:
        """Whose turn it is; all the other clients come before this one's next turn."""
        client, waiting = next(iter(self._by_client.items()))
        self._by_client.move_to_end(client)
        return min(waiting, key=self._left)
