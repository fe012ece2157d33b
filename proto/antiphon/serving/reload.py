"""SIGHUP: a server reads its files again, and never ends by it, from its first moment to its last."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from antiphon.errors import AntiphonError

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settled(Generic[T]):
    """What may change while a server runs.

    Args:
        log_level: from which on this process says what happens.
        limits: of its clients.
    """

    log_level: str
    limits: T


Reread = Callable[[], Settled[T]]
"""Reads the file of settings again; raises `AntiphonError` where it cannot be used."""


def settle(reread: Reread[T] | None) -> Settled[T] | None:
    """What the file says now, whose log level is in force on return; None where there is nothing new to go by.

    A file that cannot be used is logged, and what was settled stays.
    """
    if reread is None:
        return None
    try:
        settled = reread()
    except AntiphonError as error:
        logger.error("the old settings stay: %s", error)
        return None
    logging.getLogger().setLevel(settled.log_level.upper())
    return settled


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
