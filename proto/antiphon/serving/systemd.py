"""Tells systemd that a service has started (`Type=notify`), how it goes, and that it has not hung (`WatchdogSec=`)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

logger = logging.getLogger(__name__)

SIGNS = 3  # as often within the watchdog's time


class Systemd:
    """Speaks to the service manager that has started this process; silent where none has.

    Args:
        environment: where the manager says how to be reached.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        meant = pid in ("", str(os.getpid()))
        self.watchdog_s = int(microseconds) / 1e6 if meant and microseconds.isdecimal() else None
        """The manager restarts a service that gives no sign for so long; None where it does not."""
        self._serves = False

    def ready(self, status: str) -> None:
        """The service has started."""
        self._serves = True
        self._say("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """What `systemctl status` shows."""
        self._say(f"STATUS={status}")

    def alive(self) -> None:
        """A sign for the watchdog."""
        if self.watchdog_s is not None:
            self._say("WATCHDOG=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """The service reads its files again in the block; before it has started, and once it ends, nothing is said."""
        if not self._serves:
            yield
            return
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._say("READY=1")

    def stopping(self, status: str = "") -> None:
        """The service ends."""
        self._serves = False
        self._say("STOPPING=1", *([f"STATUS={status}"] if status else []))

    @asynccontextmanager
    async def watched(self, failure: Callable[[], str | None]) -> AsyncIterator[None]:
        """Gives signs for the watchdog in the block, from this event loop, while `failure` finds none."""
        signs = asyncio.create_task(self._give_signs(failure))
        try:
            yield
        finally:
            signs.cancel()
            await asyncio.wait((signs,))

    async def _give_signs(self, failure: Callable[[], str | None]) -> None:
        while self.watchdog_s is not None:
            if (why := failure()) is None:
                self.alive()
            else:
                self.status(f"about to be restarted: {why}")
            await asyncio.sleep(self.watchdog_s / SIGNS)

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.info("systemd does not listen at %s: %s", self._address, error)
