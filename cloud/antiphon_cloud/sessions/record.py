"""What is said of one session: in the log, in its client's usage, and in the conversation's trace.

Nothing of it is what anybody says.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from antiphon.logs import event
from antiphon.serving.tracing import NO_TRACES, Traces
from antiphon.serving.usage import Usage
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.timing import FRAME_MS

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Hop:
    """How long frames spent at one place."""

    sum_us: int = 0
    most_us: int = 0

    def add(self, took_us: int) -> None:
        """One frame."""
        self.sum_us += took_us
        self.most_us = max(self.most_us, took_us)


class SessionRecord:
    """Follows one session on this worker.

    Args:
        session: its name on this worker.
        conversation: its name on all workers.
        client: whose it is.
        usage: of the worker's clients.
        traces: where its span goes.
        first: whether the conversation begins here.
    """

    def __init__(
        self,
        session: str,
        conversation: str,
        client: Client,
        usage: Usage,
        traces: Traces = NO_TRACES,
        *,
        first: bool = True,
    ) -> None:
        self.client = client
        self.frames = 0
        """That were stepped here."""
        self.misses = 0
        """Of those, that were answered later than a frame lasts."""
        self._names = {"conversation": conversation, "session": session}
        self._meter = usage.meter(client.name, proven=client.proven)
        if first:
            self._meter.begin()
        self._hops_every = traces.hops_every
        self._hops = {"wait": Hop(), "step": Hop(), "send": Hop()}
        self._sent = 0
        fields = {"session": session, "client": client.name}
        self._span = traces.begin("session", conversation, fields, first=first)

    def say(self, level: int, what: str, **fields: str | float) -> None:
        """Something happened to the session."""
        event(logger, level, what, **self._names, client=self.client.name, **fields)
        self._span.event(what, fields)

    def reply(self, reply: Reply) -> None:
        """A frame was stepped."""
        self.frames += 1
        self.misses += reply.wait_us + reply.step_us > FRAME_MS * 1000
        self._meter.frame()

    def sent(self, reply: Reply, send_us: int) -> None:
        """The reply was written, which took so long after its step."""
        for hop, took_us in zip(self._hops.values(), (reply.wait_us, reply.step_us, send_us), strict=True):
            hop.add(took_us)
        self._sent += 1
        if self._sent % self._hops_every == 0:
            self._tell_hops(self._hops_every)

    def end(self, status: str) -> None:
        """The session has ended here, with a status of gRPC."""
        self._meter.pass_time()
        if left := self._sent % self._hops_every:
            self._tell_hops(left)
        totals = {"frames": self.frames, "misses": self.misses}
        event(logger, logging.INFO, "session ended", **self._names, client=self.client.name, status=status, **totals)
        self._span.end(status, totals)

    def _tell_hops(self, frames: int) -> None:
        fields: dict[str, float] = {"frames": frames}
        for name, hop in self._hops.items():
            fields |= {f"{name}_mean_ms": hop.sum_us / frames / 1000, f"{name}_most_ms": hop.most_us / 1000}
        self._span.part("frames", fields)
        self._hops = {name: Hop() for name in self._hops}
