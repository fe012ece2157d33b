"""SIGHUP: a server reads its files again, and never ends by it, from its first moment to its last."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reloading(reload: Callable[[], None]) -> Iterator[None]:
    """Calls `reload` on the running event loop at each SIGHUP; after the block the signal does what it did before.

    `loop.add_signal_handler` would leave the signal's default behind, which ends a process that is about to end well.
    """
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None:  # Windows
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.signal(hangup, lambda *_: loop.call_soon_threadsafe(reload))
    try:
        yield
    finally:
        signal.signal(hangup, before)
