"""What a client writes into the conversation, and which of it the model says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

ASSISTANT = "assistant"
RUN_S = 0.1  # in which an item that follows another one comes


class Writing:
    """Has the model say the newest text, once it is known to be the newest.

    A client that connects again writes the whole conversation so far, one item right after the other, and none of it
    is to be said again. So a text waits for `RUN_S` whether another item follows, or until a response is asked for,
    and what the assistant has said is never said again.

    Args:
        say: has the model say a text; raises ConnectionError where the client is gone, and nothing else.
    """

    def __init__(self, say: Callable[[str], Awaitable[None]]) -> None:
        self._say = say
        self._text = ""
        self._waiting: asyncio.Task[None] | None = None

    def write(self, role: str, text: str) -> None:
        """An item is written.

        Args:
            role: whose it is.
            text: of it.
        """
        if self._waiting is not None and self._text:  # what is being said is said to its end
            self._waiting.cancel()
        self._text = "" if role == ASSISTANT else text.strip()
        self._waiting = asyncio.create_task(self._wait()) if self._text else None

    async def flush(self) -> None:
        """Has said what waits; errors as `say`."""
        text, self._text = self._text, ""
        if text:
            await self._say(text)

    async def close(self) -> None:
        """Says nothing more."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait({self._waiting})

    async def _wait(self) -> None:
        await asyncio.sleep(RUN_S)
        with suppress(ConnectionError):
            await self.flush()
