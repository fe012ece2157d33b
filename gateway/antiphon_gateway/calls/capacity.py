"""How many calls there are, and how many there may be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from antiphon.errors import NoFreeSlotError, UnavailableError

RETRY_S = 2.0


class Capacity:
    """Places for calls: of the gateway, and of each client.

    Args:
        calls: at once.
    """

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self._held: Counter[str] = Counter()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def held(self) -> int:
        """Calls now."""
        return self._held.total()

    @property
    def draining(self) -> bool:
        """Whether no more calls are let in."""
        return self._draining

    def drain(self) -> None:
        """Lets no more calls in."""
        self._draining = True

    async def empty(self) -> None:
        """Returns once there is no call."""
        await self._empty.wait()

    @contextmanager
    def place(self, client: str, most: int | None = None) -> Iterator[None]:
        """A place for one call of a client, until the block ends.

        Args:
            client: its name, as it stands in a sentence.
            most: calls that it may have; None for as many as there are.

        Raises:
            UnavailableError: the gateway is draining.
            NoFreeSlotError: all places are taken, or as many as a client may have.
        """
        if self._draining:
            raise UnavailableError("this gateway is about to end: connect again, to another one")
        if self.held >= self.calls:
            raise NoFreeSlotError(f"all {self.calls} places of this gateway are taken: try again later", RETRY_S)
        if most is not None and self._held[client] >= most:
            raise NoFreeSlotError(f"{client} has {most} calls, as many as it may: end one first", RETRY_S)
        self._held[client] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
            if not self._held:
                self._empty.set()
