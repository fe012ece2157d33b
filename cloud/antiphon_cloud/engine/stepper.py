"""The stepper: all sessions' frames, one batch, one thread, in a process of its own.

It takes messages off its socket, gathers a frame from every session that has one, steps them, and writes the replies
back: receive, gather, step, send. A step starts as soon as a frame waits: no tick, no polling. Between two steps the
session whose turn it is gets one chunk of its prefill.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from antiphon.errors import AntiphonError, PreconditionError
from antiphon.spec import ModelSpec, shown
from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.engine.messages import (
    ROW_HEAD,
    TOKENS,
    Allow,
    Begin,
    Chunk,
    Failed,
    Frame,
    FromStepper,
    LogLevel,
    Prefilled,
    Release,
    Splitter,
    Stepped,
    ToStepper,
    Unloaded,
    encoded,
    to_stepper,
)
from antiphon_cloud.engine.pacing import PrefillPacer
from antiphon_cloud.engine.prefill_queue import PrefillQueue
from antiphon_cloud.engine.runner import Loading, Prefill, Runner
from antiphon_cloud.errors import CheckpointError, DeviceLostError
from antiphon_cloud.model.tokens import FORCED_TEXT, UNGENERATED
from antiphon_cloud.timing import FRAME_MS

logger = logging.getLogger(__name__)

LATE_STEPS = 10  # in a row, before the log says so
READ_BYTES = 256 * 1024
FASTER = "on a CPU that has other work too, fewer --threads may be faster"


class Socket:
    """The stepper's end of the socket: blocks, or looks whether something has come."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._splitter = Splitter()

    def receive(self, wait: bool) -> list[ToStepper] | None:
        """All that has come; None once the other end is closed.

        Args:
            wait: until something has.
        """
        messages: list[ToStepper] = []
        while True:
            try:
                data = self._raw.recv(READ_BYTES, 0 if wait and not messages else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages
            except OSError:
                return None
            if not data:
                return None
            messages += map(to_stepper.decode, self._splitter.feed(data))
            if messages and len(data) < READ_BYTES:  # that was all
                return messages

    def send(self, message: FromStepper) -> None:
        """Writes a message; drops it where nobody is left to read it."""
        try:
            self._raw.sendall(encoded(message))
        except OSError:
            logger.debug("the event loop's process has gone")


@dataclass(slots=True, eq=False)
class _TakenSlot:
    """A slot as the stepper knows it: its owner's frames, and its prefill."""

    begin: Begin
    fresh: bool = True  # its row still holds what the last owner left
    inbox: deque[Frame] = field(default_factory=deque)  # bounded by the session's frames in flight
    prefill: Prefill | None = None
    loading: Loading | None = None  # of its adapter

    def left(self) -> int:
        """Steps of its prefill that are still to be computed, as far as they are known."""
        if self.prefill is not None:
            return self.prefill.left
        return self.begin.history.steps if self.begin.history is not None else 0


class Stepper:
    """Drives a runner by what comes over a socket; everything runs in the caller's thread.

    Args:
        runner: steps the model.
        connection: its end of the socket.
    """

    def __init__(self, runner: Runner, connection: Socket) -> None:
        self._runner = runner
        self._socket = connection
        self._taken: dict[int, _TakenSlot] = {}  # by generation
        self._prefills: PrefillQueue[_TakenSlot] = PrefillQueue(_TakenSlot.left)
        self._pacer = PrefillPacer()
        self._loadings: dict[int, Loading] = {}  # of adapters, by their places; also those that are done
        self._waiting = 0
        self._late = 0  # steps in a row that took longer than a frame

    def run(self) -> bool:
        """Steps until the other end closes the socket, or the device is lost, which it says.

        Returns:
            Whether the device still works.
        """
        try:
            self._run()
        except DeviceLostError as error:  # every session's steps would fail from here on
            self._socket.send(Failed(None, str(error)))
            return False
        return True

    def _run(self) -> None:
        while (messages := self._socket.receive(wait=not self._waiting and not self._prefills)) is not None:
            for message in messages:
                self._receive(message)
            if self._waiting:
                self._step(self._start(self._gather()))
            if self._prefills:
                self._advance(self._prefills.next())

    def _receive(self, message: ToStepper) -> None:
        if isinstance(message, Frame):
            if slot := self._taken.get(message.generation):
                slot.inbox.append(message)
                self._waiting += 1
        elif isinstance(message, Begin):
            self._taken[message.generation] = slot = _TakenSlot(message)
            self._runner.allow(message.row, message.pages)
            if (adapter := message.adapter) is not None:
                if adapter.fresh:
                    paths = AdapterPaths(Path(adapter.weights), Path(adapter.settings))
                    self._loadings[adapter.place] = self._runner.load_adapter(adapter.place, paths)
                slot.loading = self._loadings[adapter.place]
            if message.history is not None or slot.loading is not None:
                self._prefills.add(message.owner, slot)
        elif isinstance(message, Release):
            if slot := self._taken.pop(message.generation, None):
                self._waiting -= len(slot.inbox)
                self._prefills.discard(slot.begin.owner, slot)
                self._runner.allow(slot.begin.row, 0)
        elif isinstance(message, Allow):
            self._runner.allow(self._taken[message.generation].begin.row, message.pages)
        elif isinstance(message, LogLevel):
            logging.getLogger().setLevel(message.level)
        else:
            raise AssertionError(f"no {type(message).__name__} comes after the loading")

    def _gather(self) -> list[tuple[_TakenSlot, Frame]]:
        """A frame from every session that has any."""
        batch = [(slot, slot.inbox.popleft()) for slot in self._taken.values() if slot.inbox]
        self._waiting -= len(batch)
        return batch

    def _start(self, batch: list[tuple[_TakenSlot, Frame]]) -> list[tuple[_TakenSlot, Frame]]:
        """Starts the sessions whose first frame this is; returns those that may step."""
        ready = []
        for slot, frame in batch:
            begin = slot.begin
            try:
                if slot.fresh:
                    self._runner.reset(begin.row, begin.seed, begin.sampling, begin.settings)
                    self._adapt(begin)
                    slot.fresh = False
                ready.append((slot, frame))
            except DeviceLostError:
                raise
            except PreconditionError as error:
                self._socket.send(Failed(begin.generation, str(error), unmet=True))
            except Exception as error:  # of any kind: only this session ends
                logger.exception("starting a session in slot %d failed", begin.row)
                self._socket.send(Failed(begin.generation, f"the session could not be started: {_told(error)}"))
        return ready

    def _step(self, batch: list[tuple[_TakenSlot, Frame]]) -> None:
        if not batch:
            return
        start_ns = time.perf_counter_ns()
        try:
            codes = np.stack([np.frombuffer(frame.codes, TOKENS) for _, frame in batch])  # [n, user_codebooks]
            result = self._runner.step([slot.begin.row for slot, _ in batch], codes, _forced(batch, self._runner.spec))
        except DeviceLostError:
            raise
        except Exception as error:  # of any kind: the step's sessions end and the others go on
            logger.exception("a step over %d sessions failed", len(batch))
            for slot, frame in batch:
                self._socket.send(Failed(slot.begin.generation, f"the step of frame {frame.sequence} failed: {error}"))
            return
        end_ns = time.perf_counter_ns()
        rows = np.empty((len(batch), ROW_HEAD + result.codes.shape[1]), np.int64)
        rows[:, :4] = [
            (slot.begin.generation, frame.sequence, finite, frame.arrived_ns)
            for (slot, frame), finite in zip(batch, result.finite, strict=True)
        ]
        rows[:, 4:ROW_HEAD] = np.stack((result.fed, result.drawn_text, result.text), 1)
        rows[:, ROW_HEAD:] = result.codes
        self._socket.send(Stepped(start_ns, end_ns, len(batch), rows.tobytes(), result.heads.tobytes()))
        self._stepped((end_ns - start_ns) / 1e6)

    def _stepped(self, step_ms: float) -> None:
        self._pacer.stepped(step_ms)
        self._late = self._late + 1 if step_ms > FRAME_MS else 0
        if self._late == LATE_STEPS:
            logger.warning(
                "a step takes %.0f ms, longer than a frame's %.0f: sessions fall behind; %s", step_ms, FRAME_MS, FASTER
            )

    def _advance(self, slot: _TakenSlot) -> None:
        """Does one more turn of what a session waits for: its adapter first, then its prefill."""
        begin = slot.begin
        try:
            if slot.loading is not None and not self._is_loaded(slot.loading, begin):
                return
        except DeviceLostError:
            raise
        except AntiphonError as error:  # only the sessions that want it end
            self._socket.send(Failed(begin.generation, str(error), unmet=True))
            self._prefills.discard(begin.owner, slot)
            return
        if begin.history is None and slot.prefill is None:
            self._ready(slot)
        else:
            self._prefill(slot)

    def _is_loaded(self, loading: Loading, begin: Begin) -> bool:
        """Whether a session's adapter is in its place; does a turn of its loading where it is not.

        Raises:
            AntiphonError: the adapter cannot be used.
            PreconditionError: it is not the one that the session began with.
        """
        adapter = begin.adapter
        assert adapter is not None, "somebody asked for it"
        if loading.left:
            try:
                loading.advance()
            except DeviceLostError:
                raise
            except Exception as error:  # of any kind
                told = isinstance(error, AntiphonError)
                logger.warning("adapter %s cannot be loaded: %s", adapter.name, error, exc_info=not told)
                self._socket.send(Unloaded(adapter.place))
                said = str(error).removeprefix(f"{adapter.weights}: ")  # where files lie is nobody's business
                raise AntiphonError(f"open.adapter: {adapter.name} cannot be used: {said}") from error
        if adapter.sha256 not in (b"", loading.sha256):
            raise PreconditionError(
                f"open.adapter_sha256: the session began with {shown(adapter.sha256)}, this worker's {adapter.name} is "
                f"{shown(loading.sha256)}; start a new session"
            )
        return not loading.left

    def _adapt(self, begin: Begin) -> None:
        if begin.adapter is not None:
            self._runner.adapt(begin.row, begin.adapter.place)

    def _ready(self, slot: _TakenSlot) -> None:
        """Tells that a session may step."""
        sha256 = b"" if slot.loading is None else slot.loading.sha256
        self._socket.send(Prefilled(slot.begin.generation, sha256))
        self._prefills.discard(slot.begin.owner, slot)

    def _prefill(self, slot: _TakenSlot) -> None:
        """Computes one more chunk of a session's prefill."""
        begin = slot.begin
        start_ns = time.perf_counter_ns()
        try:
            if slot.prefill is None:
                assert begin.history is not None, "only such a session is queued"
                slot.fresh = False
                settings = begin.settings
                if slot.loading is not None:
                    settings = replace(settings, adapter_sha256=slot.loading.sha256)
                slot.prefill = self._runner.resume(
                    begin.row, begin.seed, begin.sampling, begin.history.tokens(), settings
                )
                self._adapt(begin)
                begin.history = None
            done = slot.prefill.advance(self._pacer.steps) if slot.prefill.left else 0
            took_ms = (time.perf_counter_ns() - start_ns) / 1e6
            if done:
                self._pacer.measured(done, took_ms)
                self._socket.send(Chunk(took_ms, beside=not self._pacer.alone))
            if slot.prefill.left:
                return
        except DeviceLostError:
            raise
        except PreconditionError as error:
            self._socket.send(Failed(begin.generation, str(error), unmet=True))
            self._prefills.discard(begin.owner, slot)
        except Exception as error:  # of any kind: only this session ends
            logger.exception("rebuilding a session in slot %d failed", begin.row)
            self._socket.send(Failed(begin.generation, f"the session could not be rebuilt: {_told(error)}"))
            self._prefills.discard(begin.owner, slot)
        else:
            self._ready(slot)
        slot.prefill = None


def _told(error: Exception) -> object:
    """What the edge may know of an error: where the worker's files lie is nobody's business."""
    if isinstance(error, CheckpointError | OSError):
        return "a file that it needs cannot be used, which the worker's log names; choose another voice, or worker"
    return error


def _forced(batch: Sequence[tuple[_TakenSlot, Frame]], spec: ModelSpec) -> npt.NDArray[np.int32] | None:
    """The forced tokens of a batch [n, FORCED_TEXT + model_codebooks]; None where no frame has any."""
    if not any(frame.forced for _, frame in batch):
        return None
    forced = np.full((len(batch), FORCED_TEXT + spec.model_codebooks), UNGENERATED, np.int32)
    for row, (_, frame) in zip(forced, batch, strict=True):
        if frame.forced:
            row[:] = np.frombuffer(frame.forced, TOKENS)
    return forced
