"""Whose prefill comes next: owners take turns, so that one with many sessions does not hold up the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PrefillQueue(Generic[T]):
    """Slots that wait for their prefill, a chunk a turn.

    Owners take turns. Of one owner's slots the one with the fewest steps left comes first, and of equals the one that
    came first: that is the order in which the mean wait is shortest (Schrage 1968).

    Args:
        left: the steps that a slot still needs.
    """

    def __init__(self, left: Callable[[T], int]) -> None:
        self._left = left
        self._by_owner: OrderedDict[str, list[T]] = OrderedDict()  # whose turn it is comes first

    def __bool__(self) -> bool:
        return bool(self._by_owner)

    def add(self, owner: str, slot: T) -> None:
        """Queues a slot of `owner`."""
        self._by_owner.setdefault(owner, []).append(slot)

    def discard(self, owner: str, slot: T) -> None:
        """Drops a slot, finished or not; nothing happens where it is not queued."""
        waiting = self._by_owner.get(owner, [])
        if slot in waiting:
            waiting.remove(slot)
            if not waiting:
                del self._by_owner[owner]

    def next(self) -> T:
        """Whose turn it is; all the other owners come before this one's next turn."""
        owner, waiting = next(iter(self._by_owner.items()))
        self._by_owner.move_to_end(owner)
        return min(waiting, key=self._left)
