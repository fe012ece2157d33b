"""The engine: who has a slot, and whether one more may. The event loop's end of the stepper.

The event loop leases slots and submits frames; the stepper, in a process of its own, steps them and hands the replies
back. The two share nothing but a socket (`stepper_messages`). A frame's way through is one write to it, one step, and
one read; nothing here waits, and no lock is shared with whatever else the event loop is made to do.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, UnavailableError
from antiphon.history import PastTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.engine.host import StepperHost
from antiphon_cloud.engine.messages import (
    TOKENS,
    Begin,
    Chunk,
    Failed,
    Frame,
    FromStepper,
    Past,
    Rebuilt,
    Release,
    Splitter,
    Stepped,
    ToStepper,
    encoded,
    from_stepper,
)
from antiphon_cloud.engine.slot import Deliver, Lease, Reply
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.sessions.admission import Admission, StepTimes
from antiphon_cloud.sessions.clients import ANYONE, Client

logger = logging.getLogger(__name__)

STUCK_S = 60.0  # that a step may take before the worker counts as dead; the slowest model takes seconds


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy the engine is."""

    sessions: int
    steps: StepTimes


class Engine:
    """Leases the slots of a stepper, and carries frames and replies. Belongs to one event loop.

    Args:
        stepper: where the model is stepped; it runs, and nobody reads its socket yet.
        admission: who may have a slot; None leaves it to the free ones.
    """

    def __init__(self, stepper: StepperHost, admission: Admission | None = None) -> None:
        self._stepper = stepper
        self._admission = admission or Admission(budget_ms=math.inf)
        self._free = list(range(stepper.slots))  # a heap: low slots first, so that the batch stays short
        self._numbers = itertools.count()
        self._leases: dict[int, Lease] = {}  # by their numbers
        self._rebuilding: dict[Lease, float] = {}  # since when
        self._unanswered = 0
        self._heard_s = 0.0  # when the stepper last said something, or began to owe something
        self._metrics = Metrics()
        self._transport: asyncio.WriteTransport | None = None
        self._failure: str | None = None
        self._failed = asyncio.Event()

    @property
    def spec(self) -> ModelSpec:
        """The model that is stepped."""
        return self._stepper.spec

    @property
    def slots(self) -> int:
        """Sessions at once."""
        return self._stepper.slots

    def load(self) -> EngineLoad:
        """Sessions now, and the percentiles of the last steps in milliseconds."""
        return EngineLoad(sum(not lease.kept for lease in self._leases.values()), self._admission.step_times())

    @property
    def sessions(self) -> int:
        """Slots that are taken."""
        return len(self._leases)

    @property
    def queue_depth(self) -> int:
        """Frames that were not answered yet."""
        return self._unanswered

    def stuck(self) -> str | None:
        """What is wrong with the stepper; None where nothing is."""
        if self._failure is not None:
            return self._failure
        silent_s = time.monotonic() - self._heard_s if self._unanswered or self._rebuilding else 0.0
        return f"a step has not ended for {silent_s:.0f} s" if silent_s > STUCK_S else None

    async def failed(self) -> str:
        """Waits until the stepper has ended by itself, and says why; this worker can serve nobody any more."""
        await self._failed.wait()
        assert self._failure is not None
        return self._failure

    async def start(self, metrics: Metrics | None = None) -> None:
        """Begins to read; replies are delivered on the running event loop, steps and frames counted in `metrics`."""
        if metrics is not None:
            self._metrics = metrics
            metrics.watch_stepper(self._stepper.pid)
        loop = asyncio.get_running_loop()
        connection = _Connection(self._receive, self._ended)
        self._transport, _ = await loop.create_unix_connection(lambda: connection, sock=self._stepper.socket)

    async def stop(self) -> None:
        """Ends the stepper, whatever it is doing; waiting frames are dropped."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()
        await asyncio.to_thread(self._stepper.close)

    def lease(
        self,
        seed: int,
        sampling: Sampling,
        deliver: Deliver,
        client: Client = ANYONE,
        past: PastTokens | None = None,
    ) -> Lease:
        """Takes a slot for a new session of `client`, or for one that goes on from its past: it may step once the lease
        is `ready`.

        Raises:
            RefusedError: no slot is free, the client has its share, or a step has no room for one more session.
            UnavailableError: the stepper has ended.
        """
        if self._failure is not None:
            raise UnavailableError(f"{self._failure}: connect to another worker")
        held = sum(lease.client.name == client.name for lease in self._leases.values())
        rebuilding = past is not None or bool(self._rebuilding)
        self._admission.check(client, held, len(self._leases), self.slots, time.monotonic(), rebuilding)
        lease = Lease(self, next(self._numbers), heapq.heappop(self._free), deliver, client)
        self._leases[lease.number] = lease
        self._metrics.opened()
        if past is None:
            lease.ready.set_result(None)
        else:
            self._owed()
            self._rebuilding[lease] = time.monotonic()
        begin = Begin(
            lease.number, lease.slot, client.name, seed, sampling, Past.of(past) if past is not None else None
        )
        self._send(begin)
        return lease

    def submit(self, lease: Lease, sequence: int, codes: Codes) -> None:
        """Called through the lease."""
        self._owed()
        self._unanswered += 1
        self._send(Frame(lease.number, sequence, time.perf_counter_ns(), codes.astype(TOKENS, copy=False).tobytes()))

    def release(self, lease: Lease) -> None:
        """Called through the lease."""
        self._unanswered -= lease.waiting
        self._rebuilding.pop(lease, None)
        del self._leases[lease.number]
        heapq.heappush(self._free, lease.slot)
        self._send(Release(lease.number))

    def _owed(self) -> None:
        """Notes when the stepper, which owes nothing yet, begins to."""
        if not self._unanswered and not self._rebuilding:
            self._heard_s = time.monotonic()

    def _send(self, message: ToStepper) -> None:
        # Bounded by what the sessions may have unanswered, as frames and histories are all that takes room.
        if self._transport is not None:
            self._transport.write(encoded(message))

    def _receive(self, message: FromStepper) -> None:
        self._heard_s = time.monotonic()
        if isinstance(message, Stepped):
            self._deliver(message)
        elif isinstance(message, Chunk):
            if message.beside:
                self._admission.observe_chunk(message.took_ms)
        elif isinstance(message, Rebuilt):
            self._rebuilt(message.lease)
        elif isinstance(message, Failed):
            self._fail(message)
        else:
            raise AssertionError(f"no {type(message).__name__} comes after the loading")

    def _deliver(self, step: Stepped) -> None:
        step_us = (step.end_ns - step.start_ns) // 1000
        self._admission.observe(step.sessions, step_us / 1000, self._heard_s)
        self._metrics.step(step.sessions, step_us / 1e6)
        now_ns = time.perf_counter_ns()
        for (number, sequence, finite, arrived_ns, text), codes in step.table():
            lease = self._answered(number)
            if lease is None:
                continue
            if finite:
                wait_us = (step.start_ns - arrived_ns) // 1000
                lease.deliver(Reply(sequence, text, np.array(codes, np.int32), wait_us, step_us))
                self._metrics.frame((now_ns - arrived_ns) / 1e9)
            else:
                lease.deliver(
                    AntiphonError(f"the model's logits at step {sequence} are no numbers: start a new session")
                )

    def _answered(self, number: int) -> Lease | None:
        """The lease of one answered frame; None where it is over."""
        lease = self._leases.get(number)
        if lease is not None:
            lease.waiting -= 1
            self._unanswered -= 1
        return lease

    def _rebuilt(self, number: int) -> None:
        lease = self._leases.get(number)
        if lease is not None:
            self._metrics.resumed("history")
            self._metrics.prefilled(time.monotonic() - self._rebuilding.pop(lease))
            lease.ready.set_result(None)

    def _fail(self, failed: Failed) -> None:
        assert failed.lease is not None, "the loading is over"
        lease = self._leases.get(failed.lease)
        if lease is not None:
            if self._rebuilding.pop(lease, None) is None:
                self._answered(failed.lease)
            lease.deliver(AntiphonError(failed.message))

    def _ended(self) -> None:
        """The stepper has closed its end."""
        if self._transport is None:
            return  # it was told to
        self._transport = None
        self._failure = self._stepper.obituary()
        logger.error("%s", self._failure)
        self._rebuilding.clear()
        for lease in list(self._leases.values()):
            lease.deliver(UnavailableError(f"{self._failure}: connect to another worker"))
        self._failed.set()


class _Connection(asyncio.Protocol):
    """Cuts what the stepper writes into messages."""

    def __init__(self, receive: Callable[[FromStepper], None], ended: Callable[[], None]) -> None:
        self._receive, self._ended = receive, ended
        self._splitter = Splitter()

    def data_received(self, data: bytes) -> None:
        """Some bytes have come."""
        for body in self._splitter.feed(data):
            self._receive(from_stepper.decode(body))

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed, on either end."""
        self._ended()
