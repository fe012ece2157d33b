"""The engine: all sessions' frames, one batch, one thread.

The event loop leases slots and submits frames; the engine's thread gathers what waits, steps it, and hands the
replies back. The two meet in two places only: `Lease.submit` under the condition, and `_call_soon`'s one
`call_soon_threadsafe`. A step starts as soon as a frame waits and the thread is free: no tick, no polling. Between two
steps a session that goes on from its past is rebuilt a chunk further.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from antiphon.errors import AntiphonError
from antiphon.history import PastTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.admission import Admission, StepTimes
from antiphon_cloud.chunks import ChunkSize
from antiphon_cloud.clients import ANYONE, Client
from antiphon_cloud.lease import Deliver, Lease, Reply, Waiting
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.runner_protocol import Rebuild, Runner

logger = logging.getLogger(__name__)

FRAME_US = 80_000  # a step that takes longer cannot keep up with its sessions
STUCK_S = 60.0  # that a step may take before the worker counts as dead; the slowest model takes seconds
LATE_STEPS = 10  # in a row, before the log says so


class _Entry(NamedTuple):
    """One session's part of a batch."""

    lease: Lease
    frame: Waiting
    reset: tuple[int, Sampling] | None  # seed and sampling, before the session's first frame


@dataclass(slots=True)
class _Rebuilding:
    """A session whose past is still to be computed, in the order of their coming."""

    seed: int
    sampling: Sampling
    past: PastTokens
    since_s: float
    under_way: Rebuild | None = None


_Result = tuple[Lease, Reply | AntiphonError]


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy the engine is."""

    sessions: int
    steps: StepTimes


class Engine:
    """Owns the runner and its thread. `start` and `lease` belong to one event loop."""

    def __init__(self, runner: Runner, admission: Admission | None = None) -> None:
        self._runner = runner
        self._admission = admission or Admission(budget_ms=math.inf)  # under the condition; free slots alone decide
        self._condition = threading.Condition()
        self._free = list(range(runner.slots))  # a heap: low slots first, so that the batch stays short
        self._leases: dict[int, Lease] = {}
        self._resets: dict[Lease, tuple[int, Sampling]] = {}  # sessions whose slot is not theirs yet
        self._rebuilding: dict[Lease, _Rebuilding] = {}
        self._chunk = ChunkSize()
        self._waiting = 0
        self._stopping = False
        self._metrics = Metrics()
        self._busy_since_s: float | None = None
        self._late = 0  # steps in a row that took longer than a frame
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def spec(self) -> ModelSpec:
        """The model that is stepped."""
        return self._runner.spec

    @property
    def slots(self) -> int:
        """Sessions at once."""
        return self._runner.slots

    def load(self) -> EngineLoad:
        """Sessions now, and the percentiles of the last steps in milliseconds."""
        with self._condition:
            sessions, times = sum(not lease.kept for lease in self._leases.values()), self._admission.step_times()
        return EngineLoad(sessions, times)

    @property
    def sessions(self) -> int:
        """Slots that are taken."""
        return len(self._leases)

    @property
    def queue_depth(self) -> int:
        """Frames that wait for a step."""
        return self._waiting

    def stuck(self) -> str | None:
        """What is wrong with the thread; None where nothing is."""
        if self._loop is not None and not self._thread.is_alive():
            return "the engine's thread has ended"
        busy_s = time.monotonic() - self._busy_since_s if self._busy_since_s is not None else 0.0
        return f"a step has not ended for {busy_s:.0f} s" if busy_s > STUCK_S else None

    def start(self, metrics: Metrics | None = None) -> None:
        """Starts the thread; replies are delivered on the running event loop, steps and frames counted in `metrics`."""
        self._metrics = metrics or self._metrics
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Ends the thread after the step under way; waiting frames are dropped."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        await asyncio.to_thread(self._thread.join)

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
        """
        with self._condition:
            held = sum(lease.client.name == client.name for lease in self._leases.values())
            self._admission.check(client, held, len(self._leases), self.slots, time.monotonic())
            slot = heapq.heappop(self._free)
            lease = self._leases[slot] = Lease(self, slot, deliver, client)
            self._metrics.opened()
            if past is None:
                self._resets[lease] = seed, sampling
                lease.ready.set_result(None)
            else:
                self._rebuilding[lease] = _Rebuilding(seed, sampling, past, time.monotonic())
                self._condition.notify()
            return lease

    def submit(self, lease: Lease, waiting: Waiting) -> None:
        """Called through the lease."""
        with self._condition:
            lease.inbox.append(waiting)
            self._waiting += 1
            self._condition.notify()

    def release(self, lease: Lease) -> None:
        """Called through the lease."""
        with self._condition:
            self._waiting -= len(lease.inbox)
            lease.inbox.clear()
            self._resets.pop(lease, None)
            self._rebuilding.pop(lease, None)
            del self._leases[lease.slot]
            heapq.heappush(self._free, lease.slot)

    def _run(self) -> None:
        while (batch := self._gather()) is not None:
            self._busy_since_s = time.monotonic()
            if batch:
                ready, failed = self._reset(batch)
                self._scatter(failed + (self._step(ready) if ready else []))
            self._rebuild()
            self._busy_since_s = None

    def _gather(self) -> list[_Entry] | None:
        """Waits for work, then takes a frame from every session that has any; None ends the thread."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._rebuilding or self._stopping)
            if self._stopping:
                return None
            batch = [
                _Entry(lease, lease.inbox.popleft(), self._resets.pop(lease, None))
                for lease in self._leases.values()
                if lease.inbox
            ]
            self._waiting -= len(batch)
        return batch

    def _rebuild(self) -> None:
        """Takes the session that has waited longest a chunk further, between two steps."""
        with self._condition:
            lease, job = next(iter(self._rebuilding.items()), (None, None))
        if lease is None or job is None:
            return
        error = None
        start_ns = time.perf_counter_ns()
        try:
            if job.under_way is None:
                job.under_way = self._runner.rebuild(lease.slot, job.seed, job.sampling, job.past)
            if job.under_way.left:
                done = job.under_way.advance(self._chunk.steps)
                self._chunk.measured(done, (time.perf_counter_ns() - start_ns) / 1e6)
            if job.under_way.left:
                return
        except Exception as raised:  # whatever it was, only this session ends
            logger.exception("rebuilding a session in slot %d failed", lease.slot)
            error = AntiphonError(f"the session could not be rebuilt: {raised}")
        else:
            self._metrics.resumed("history")
            self._metrics.prefilled(time.monotonic() - job.since_s)
        with self._condition:
            self._rebuilding.pop(lease, None)
        self._call_soon(lambda: lease.rebuilt(error))

    def _reset(self, batch: list[_Entry]) -> tuple[list[_Entry], list[_Result]]:
        """Starts the sessions whose first frame this is; the rest are ready as they are."""
        ready: list[_Entry] = []
        failed: list[_Result] = []
        for entry in batch:
            try:
                if entry.reset is not None:
                    self._runner.reset(entry.lease.slot, *entry.reset)
                ready.append(entry)
            except Exception as error:  # whatever it was, only this session ends
                logger.exception("starting a session in slot %d failed", entry.lease.slot)
                failed.append((entry.lease, AntiphonError(f"the session could not be started: {error}")))
        return ready, failed

    def _step(self, batch: list[_Entry]) -> list[_Result]:
        start_ns = time.perf_counter_ns()
        try:
            codes = np.stack([entry.frame.codes for entry in batch])
            result = self._runner.step([entry.lease.slot for entry in batch], codes)
        except Exception as error:  # whatever the step did, its sessions end and the others go on
            logger.exception("a step over %d sessions failed", len(batch))
            return [
                (entry.lease, AntiphonError(f"the step of frame {entry.frame.sequence} failed: {error}"))
                for entry in batch
            ]
        step_us = (time.perf_counter_ns() - start_ns) // 1000
        with self._condition:
            self._admission.observe(len(batch), step_us / 1000, time.monotonic())
        self._metrics.step(len(batch), step_us / 1e6)
        self._chunk.stepped(step_us / 1000)
        self._late = self._late + 1 if step_us > FRAME_US else 0
        if self._late == LATE_STEPS:
            logger.warning("a step takes %.0f ms, longer than a frame's 80: sessions fall behind", step_us / 1000)
        results: list[_Result] = []
        for row, entry in enumerate(batch):
            sequence, wait_us = entry.frame.sequence, (start_ns - entry.frame.arrived_ns) // 1000
            if result.finite[row]:
                reply = Reply(sequence, int(result.text[row]), result.codes[row], wait_us, step_us)
                results.append((entry.lease, reply))
            else:
                broken = AntiphonError(f"the model's logits at step {sequence} are no numbers: start a new session")
                results.append((entry.lease, broken))
        return results

    def _scatter(self, replies: list[_Result]) -> None:
        stepped_s = time.perf_counter()

        def deliver() -> None:
            crossing_s = time.perf_counter() - stepped_s
            for lease, reply in replies:
                lease.deliver(reply)
                if isinstance(reply, Reply):
                    self._metrics.frame((reply.wait_us + reply.step_us) / 1e6 + crossing_s)

        self._call_soon(deliver)

    def _call_soon(self, tell: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop has closed: nobody is left to hear it
            logger.debug("dropped what the engine had to tell after the event loop closed")
