"""What each client has used, in Prometheus counters whose number is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

CLIENTS = 1000  # with series of their own; whoever comes later counts among `OTHERS` until the process ends
OTHERS = "others"
UNPROVEN = "no key"
"""All who are known by their address alone: there may be any number of them."""


class Usage:
    """Sessions, frames and seconds by client.

    Args:
        registry: exports them.
        prefix: of their names, such as `antiphon`.
        clock: seconds.
    """

    def __init__(self, registry: CollectorRegistry, prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions, self._frames, self._seconds = (
            Counter(f"{prefix}_client_{name}", text, ["client"], registry=registry)
            for name, text in {
                "sessions": "Sessions that began, by client; one that goes on elsewhere began once.",
                "frames": "Frames that were answered, by client.",
                "seconds": "Seconds for which sessions were held, by client.",
            }.items()
        )
        self._known: set[str] = set()
        for name in (UNPROVEN, OTHERS):
            self._counters(name)  # exports 0 from the start

    def meter(self, client: str, *, proven: bool) -> Meter:
        """Counts one session.

        Args:
            client: its name, as in the log.
            proven: whether a key or a certificate proves it.
        """
        if proven and client not in self._known and len(self._known) >= CLIENTS:
            client = OTHERS
        elif proven:
            self._known.add(client)
        return Meter(*self._counters(client if proven else UNPROVEN), self._clock)

    def _counters(self, client: str) -> tuple[Counter, Counter, Counter]:
        return self._sessions.labels(client), self._frames.labels(client), self._seconds.labels(client)


class Meter:
    """Counts one session; `Usage.meter` makes it.

    Args:
        sessions: its client's.
        frames: likewise.
        seconds: likewise; they pass as frames do, so that a long session is seen before it ends.
        clock: seconds.
    """

    def __init__(self, sessions: Counter, frames: Counter, seconds: Counter, clock: Callable[[], float]) -> None:
        self._sessions, self._frames, self._seconds, self._clock = sessions, frames, seconds, clock
        self._counted_s = clock()

    def begin(self) -> None:
        """The session is a new one."""
        self._sessions.inc()

    def frame(self) -> None:
        """A frame was answered."""
        self._frames.inc()
        self.pass_time()

    def pass_time(self) -> None:
        """Counts the seconds since it last did."""
        now_s = self._clock()
        self._seconds.inc(now_s - self._counted_s)
        self._counted_s = now_s
