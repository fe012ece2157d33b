"""The engine: the event loop's end of the stepper. It hands out slots, and carries frames there and replies back.

The stepper steps them in a process of its own; the two share nothing but a socket (`messages`). A frame takes one write
to it, one step, and one read. Nothing here waits, and no lock is shared with what else the event loop does.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, PreconditionError, UnavailableError
from antiphon.history import HistoryTokens, Tokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.engine.adapters import AdapterAccount
from antiphon_cloud.engine.forecast import StepForecast
from antiphon_cloud.engine.host import StepperHost
from antiphon_cloud.engine.memory import Memory
from antiphon_cloud.engine.messages import (
    TOKENS,
    Allow,
    Begin,
    Chunk,
    Failed,
    Frame,
    FromStepper,
    LogLevel,
    PackedHistory,
    Prefilled,
    Release,
    Splitter,
    Stepped,
    ToStepper,
    Unloaded,
    encoded,
    from_stepper,
)
from antiphon_cloud.engine.slot import Deliver, Reply, Slot
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings

logger = logging.getLogger(__name__)

STUCK_S = 60.0  # that a step may take before the worker counts as dead; the slowest model takes seconds


class Engine:
    """The slots of one stepper. Belongs to one event loop.

    Args:
        stepper: where the model is stepped; it runs, and nobody reads its socket yet.
        forecast: learns what steps take; None for one without a profile.
        metrics: count steps and frames; None where nobody reads them.
        pool: memory that the slots share; None where each has its own.
        adapters: that sessions may be stepped with; None for none.
    """

    def __init__(
        self,
        stepper: StepperHost,
        forecast: StepForecast | None = None,
        metrics: Metrics | None = None,
        pool: PoolShape | None = None,
        adapters: AdapterAccount | None = None,
    ) -> None:
        self.forecast = forecast or StepForecast()
        self._stepper = stepper
        self._free = list(range(stepper.slots))  # a heap: low rows first, so that the batch stays short
        self._generations = itertools.count()
        self._taken: dict[int, Slot] = {}  # by generation
        self._prefilling: dict[Slot, float] = {}  # since when
        self._unanswered = 0
        self._heard_s = 0.0  # when the stepper last said something, or began to owe something
        self.metrics = metrics or Metrics()
        """Count steps, frames and what clients use."""
        pool = pool or PoolShape.one_page_each(stepper.slots, stepper.spec.context_steps)
        self.memory = Memory(pool, stepper.slots, self.metrics)
        self.adapters = adapters or AdapterAccount()
        self._transport: asyncio.WriteTransport | None = None
        self.failure: str | None = None
        """Why the stepper has ended by itself, after which no session is served; None while it runs."""
        self._on_failure: Callable[[str], None] = lambda reason: None
        self._failed = asyncio.Event()

    @property
    def spec(self) -> ModelSpec:
        """The model that is stepped."""
        return self._stepper.spec

    @property
    def slots(self) -> int:
        """Sessions at once."""
        return self._stepper.slots

    @property
    def sessions(self) -> int:
        """Slots that are taken."""
        return len(self._taken)

    @property
    def prefilling(self) -> bool:
        """Whether a session's prefill is computed between the others' steps."""
        return bool(self._prefilling)

    @property
    def queue_depth(self) -> int:
        """Frames that were not answered yet."""
        return self._unanswered

    def stuck(self) -> str | None:
        """What is wrong with the stepper; None where nothing is."""
        if self.failure is not None:
            return self.failure
        silent_s = time.monotonic() - self._heard_s if self._unanswered or self._prefilling else 0.0
        return f"a step has not ended for {silent_s:.0f} s" if silent_s > STUCK_S else None

    async def failed(self) -> str:
        """Waits until the stepper ends by itself, and returns why; from then on this worker serves no session."""
        await self._failed.wait()
        assert self.failure is not None
        return self.failure

    async def start(self, on_failure: Callable[[str], None] = lambda reason: None) -> None:
        """Begins to read; replies are delivered on the running event loop.

        Args:
            on_failure: called with the reason once the stepper has ended by itself, before its sessions hear of it.
        """
        self._on_failure = on_failure
        self.metrics.watch_stepper(self._stepper.pid)
        loop = asyncio.get_running_loop()
        connection = _Connection(self._receive, self._ended)
        self._transport, _ = await loop.create_unix_connection(lambda: connection, sock=self._stepper.socket)

    async def stop(self) -> None:
        """Ends the stepper, even amid a step; waiting frames are dropped."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()
        await asyncio.to_thread(self._stepper.close)

    def set_log_level(self, level: int) -> None:
        """Lets the stepper's process say what happens from a level of `logging` on."""
        self._send(LogLevel(level))

    def require_running(self) -> None:
        """Returns while the stepper runs.

        Raises:
            UnavailableError: it has ended.
        """
        if self.failure is not None:
            raise UnavailableError(f"{self.failure}: connect to another worker")

    def take(
        self,
        seed: int,
        sampling: Sampling,
        deliver: Deliver,
        owner: str,
        history: HistoryTokens | None = None,
        settings: SessionSettings = DEFAULT,
        adapter_sha256: bytes = b"",
    ) -> Slot:
        """Takes a free slot for a new session, or for one that goes on from its history. It steps once it is `ready`.

        Args:
            seed: of the session's random numbers.
            sampling: temperatures and top-ks.
            deliver: called with each reply, in order, or with why there will be none.
            owner: whose session it is; owners take turns where several prefills wait.
            history: the session's tokens so far, its prompt's first.
            settings: what the model is told for the whole session; there is room for its adapter.
            adapter_sha256: that its adapter must have; empty for any.

        Raises:
            UnavailableError: the stepper has ended.
            PreconditionError: the adapter has gone.
        """
        self.require_running()
        assert self._free, "whoever takes a slot asks first"
        adapter = self.adapters.begin(self._free[0], settings.adapter, adapter_sha256) if settings.adapter else None
        ready = asyncio.get_running_loop().create_future()
        prompt_steps, resumed = settings.prompt_steps, history is not None and history.steps > settings.prompt_steps
        slot = Slot(next(self._generations), heapq.heappop(self._free), deliver, ready, prompt_steps, resumed)
        self._taken[slot.generation] = slot
        self.metrics.opened()
        packed, steps = None, 0
        if history is not None:
            packed, steps = PackedHistory.of(history), history.steps
        if history is None and adapter is None:
            ready.set_result(None)
        else:
            self._owe()
            self._prefilling[slot] = time.monotonic()
            slot.rebuilt = history is not None
        pages = self.memory.begin(slot.row, steps)
        self._send(Begin(slot.generation, slot.row, owner, seed, sampling, settings, packed, pages, adapter))
        return slot

    def submit(self, slot: Slot, sequence: int, codes: Codes, forced: Tokens | None = None) -> None:
        """Queues one frame; its reply is delivered on the event loop, in order.

        Args:
            slot: of the session.
            sequence: the frame's number.
            codes: the user's, [user_codebooks].
            forced: tokens for the model's streams, [FORCED_TEXT + model_codebooks], see `Runner.step`; None for none.
        """
        self._owe()
        self._unanswered += 1
        slot.waiting += 1
        if (pages := self.memory.grow(slot.row, slot.prompt_steps + sequence)) is not None:
            self._send(Allow(slot.generation, pages))
        codes_bytes = codes.astype(TOKENS, copy=False).tobytes()
        forced_bytes = b"" if forced is None else forced.astype(TOKENS, copy=False).tobytes()
        self._send(Frame(slot.generation, sequence, time.perf_counter_ns(), codes_bytes, forced_bytes))

    def release(self, slot: Slot) -> None:
        """Gives the slot back; safe to call twice. Replies still under way are dropped."""
        if slot.released:
            return
        slot.released = True
        slot.ready.cancel()
        self._unanswered -= slot.waiting
        self._prefilling.pop(slot, None)
        del self._taken[slot.generation]
        heapq.heappush(self._free, slot.row)
        self.memory.end(slot.row)
        self.adapters.end(slot.row)
        self._send(Release(slot.generation))

    def _owe(self) -> None:
        """Notes when the stepper, which owes nothing yet, begins to."""
        if not self._unanswered and not self._prefilling:
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
                self.forecast.observe_chunk(message.took_ms)
        elif isinstance(message, Prefilled):
            self._prefilled(message)
        elif isinstance(message, Failed):
            if message.generation is None:
                self._fail(message.message)
            else:
                self._fail_session(message.generation, message)
        elif isinstance(message, Unloaded):
            self.adapters.failed(message.place)
        else:
            raise AssertionError(f"no {type(message).__name__} comes after the loading")

    def _deliver(self, step: Stepped) -> None:
        step_us = (step.end_ns - step.start_ns) // 1000
        self.forecast.observe(step.sessions, step_us / 1000, self._heard_s)
        self.metrics.step(step.sessions, step_us / 1e6)
        now_ns = time.perf_counter_ns()
        for ((generation, sequence, finite, arrived_ns, fed, drawn, text), codes), heads in zip(
            step.table(), step.head_rows(), strict=True
        ):
            slot = self._taken.get(generation)
            if slot is None:
                continue  # it was released meanwhile
            self._answered(slot)
            if finite:
                wait_us = (step.start_ns - arrived_ns) // 1000
                slot.deliver(Reply(sequence, text, np.array(codes, np.int32), wait_us, step_us, fed, drawn, heads))
                self.metrics.frame((now_ns - arrived_ns) / 1e9)
            else:
                slot.deliver(
                    AntiphonError(f"the model's logits at step {sequence} are no numbers: start a new session")
                )

    def _answered(self, slot: Slot) -> None:
        """Counts one frame that is answered."""
        slot.waiting -= 1
        self._unanswered -= 1

    def _prefilled(self, message: Prefilled) -> None:
        slot = self._taken.get(message.generation)
        if slot is not None:
            took_s = time.monotonic() - self._prefilling.pop(slot)
            if slot.resumed:
                self.metrics.resumed("history")
            self.metrics.prefilled(took_s)
            slot.adapter_sha256 = message.adapter_sha256
            slot.ready.set_result(None)

    def _fail_session(self, generation: int, failed: Failed) -> None:
        slot = self._taken.get(generation)
        if slot is not None:
            if self._prefilling.pop(slot, None) is None:
                self._answered(slot)
            _report(slot, PreconditionError(failed.message) if failed.unmet else AntiphonError(failed.message))

    def _ended(self) -> None:
        """The stepper has closed its end."""
        if self._transport is not None:  # it did not say why, and `stop` did not close ours
            self._fail(self._stepper.obituary())

    def _fail(self, reason: str) -> None:
        """The stepper does nothing more; who sends sessions here hears of it before they look elsewhere."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        transport.abort()
        self.failure = reason
        self._on_failure(reason)
        logger.error("%s", self.failure)
        self._prefilling.clear()
        for slot in list(self._taken.values()):
            _report(slot, UnavailableError(f"{self.failure}: connect to another worker"))
        self._failed.set()


def _report(slot: Slot, error: AntiphonError) -> None:
    """Tells whoever waits for the slot, or for its next reply, of an error."""
    if slot.ready.done():
        slot.deliver(error)
    else:
        slot.ready.set_exception(error)


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
