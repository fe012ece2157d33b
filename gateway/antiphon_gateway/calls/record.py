"""What is said of one call: in the log, in the metrics, in its client's usage, and in the conversation's trace.

Nothing of it is what anybody says.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from antiphon.logs import event
from antiphon.serving.refusal_log import RefusalLog
from antiphon.serving.tracing import NO_TRACES, Traces
from antiphon_edge.client.events import Change, Reconnecting, Resumed
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.metrics import Metrics

logger = logging.getLogger(__name__)

GATE = "gate"  # the door of those who come to none


@dataclass(slots=True)
class Watch:
    """Where it is said.

    Args:
        metrics: of the gateway.
        traces: where the calls' spans go.
        refusals: who was not let in.
    """

    metrics: Metrics
    traces: Traces = NO_TRACES
    refusals: RefusalLog = field(default_factory=RefusalLog)

    def refused(self, door: str, client: str, status: str) -> None:
        """Somebody was not let in, with a status as an error has it."""
        self.metrics.refused(door, status)
        self.refusals.add(door=door, client=client, reason=status.lower())


class CallRecord:
    """Follows one call that was let in.

    Args:
        watch: where all is said.
        door: through which it came.
        visitor: who calls.
        conversation: its name on the workers; empty where the edge gave it none.
        worker: HOST:PORT that took it; empty where the edge does not ask.
        step: the frame with which it begins, beyond 0 where a conversation goes on.
    """

    def __init__(
        self, watch: Watch, door: str, visitor: Visitor, conversation: str, worker: str = "", step: int = 0
    ) -> None:
        self._metrics, self._door = watch.metrics, door
        self.frames = 0
        """That were answered."""
        self.late = 0
        """Of those, that came too late to be heard without a gap."""
        names = {"conversation": conversation, "door": door, "client": visitor.name}
        self._names = {name: value for name, value in names.items() if value}
        self._meter = self._metrics.usage.meter(visitor.name, proven=visitor.proven)
        self._every = watch.traces.hops_every
        self._round_trips_s: list[float] = []
        self._span = watch.traces.begin("call", conversation, {"door": door, "client": visitor.name}, first=False)
        self._metrics.opened(door)
        if step == 0:
            self._meter.begin()
        where = {"worker": worker} if worker else {}
        self._say("call opened" if step == 0 else "call goes on", step=step, **where)

    def frame(self, round_trip_s: float | None = None, *, late: bool = False) -> None:
        """A frame was answered; its round trip is unknown where the edge measures it."""
        self.frames += 1
        self.late += late
        self._metrics.frame(late=late)
        self._meter.frame()
        if round_trip_s is not None:
            self._round_trips_s.append(round_trip_s)
            if len(self._round_trips_s) == self._every:
                self._tell_round_trips()

    def changed(self, change: Change, worker: str) -> None:
        """The session looks for another worker, or goes on at one."""
        if isinstance(change, Reconnecting):
            self._say("call lost its worker", worker=worker)
        elif isinstance(change, Resumed):
            self._say("call goes on", worker=worker, step=self.frames)

    def end(self, status: str) -> None:
        """The call has ended, with a status as an error has it, or OK."""
        self._meter.pass_time()
        self._tell_round_trips()
        self._metrics.ended(self._door, status)
        totals = {"frames": self.frames, "late": self.late}
        event(logger, logging.INFO, "call ended", **self._names, status=status, **totals)
        self._span.end(status, totals)

    def _say(self, what: str, **fields: str | float) -> None:
        event(logger, logging.INFO, what, **self._names, **fields)
        self._span.event(what, fields)

    def _tell_round_trips(self) -> None:
        if trips_s := self._round_trips_s:
            mean_ms, most_ms = 1000 * sum(trips_s) / len(trips_s), 1000 * max(trips_s)
            fields = {"frames": len(trips_s), "round_trip_mean_ms": mean_ms, "round_trip_most_ms": most_ms}
            self._span.part("frames", fields)
            self._round_trips_s = []
