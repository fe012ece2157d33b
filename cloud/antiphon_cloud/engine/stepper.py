"""The stepper: all sessions' frames, one batch, one thread.

It takes messages off its socket, gathers a frame from every session that has one, steps them, and writes the replies
back: receive, gather, step, scatter. A step starts as soon as a frame waits: no tick, no polling. Between two steps a
session that goes on from its past is computed a chunk further.

The event loop is in another process (`stepper_process`), so that nothing that strangers make it do holds up a step.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from antiphon_cloud.engine.messages import (
    ROW_HEAD,
    TOKENS,
    Begin,
    Chunk,
    Failed,
    Frame,
    FromStepper,
    Rebuilt,
    Release,
    Splitter,
    Stepped,
    ToStepper,
    encoded,
    to_stepper,
)
from antiphon_cloud.engine.pacing import ChunkSize
from antiphon_cloud.engine.prefill_queue import RebuildQueue
from antiphon_cloud.engine.runner import Rebuild, Runner
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
        """Writes a message; what nobody is left to read is dropped."""
        try:
            self._raw.sendall(encoded(message))
        except OSError:
            logger.debug("the event loop's process has gone")


@dataclass(slots=True, eq=False)
class _Seat:
    """A lease as the stepper knows it."""

    begin: Begin
    fresh: bool = True  # its slot still holds what the last owner left
    inbox: deque[Frame] = field(default_factory=deque)  # bounded by the session's frames in flight
    rebuild: Rebuild | None = None

    def left(self) -> int:
        """Steps of its past that are still to be computed, as far as they are known."""
        if self.rebuild is not None:
            return self.rebuild.left
        return self.begin.past.steps if self.begin.past is not None else 0


class Stepper:
    """Drives a runner by what comes over `socket`; everything runs in the caller's thread."""

    def __init__(self, runner: Runner, connection: Socket) -> None:
        self._runner = runner
        self._socket = connection
        self._seats: dict[int, _Seat] = {}
        self._rebuilds: RebuildQueue[_Seat] = RebuildQueue(_Seat.left)
        self._chunk = ChunkSize()
        self._waiting = 0
        self._late = 0  # steps in a row that took longer than a frame

    def run(self) -> None:
        """Steps until the other end closes the socket."""
        while (messages := self._socket.receive(wait=not self._waiting and not self._rebuilds)) is not None:
            for message in messages:
                self._take(message)
            if self._waiting:
                self._step(self._start(self._gather()))
            if self._rebuilds:
                self._rebuild(self._rebuilds.next())

    def _take(self, message: ToStepper) -> None:
        if isinstance(message, Frame):
            if seat := self._seats.get(message.lease):
                seat.inbox.append(message)
                self._waiting += 1
        elif isinstance(message, Begin):
            self._seats[message.lease] = seat = _Seat(message)
            if message.past is not None:
                self._rebuilds.add(message.client, seat)
        elif isinstance(message, Release):
            if seat := self._seats.pop(message.lease, None):
                self._waiting -= len(seat.inbox)
                self._rebuilds.discard(seat.begin.client, seat)
        else:
            raise AssertionError(f"no {type(message).__name__} comes after the loading")

    def _gather(self) -> list[tuple[_Seat, Frame]]:
        """A frame from every session that has any."""
        batch = [(seat, seat.inbox.popleft()) for seat in self._seats.values() if seat.inbox]
        self._waiting -= len(batch)
        return batch

    def _start(self, batch: list[tuple[_Seat, Frame]]) -> list[tuple[_Seat, Frame]]:
        """Starts the sessions whose first frame this is; returns those that may step."""
        ready = []
        for seat, frame in batch:
            try:
                if seat.fresh:
                    self._runner.reset(seat.begin.slot, seat.begin.seed, seat.begin.sampling)
                    seat.fresh = False
                ready.append((seat, frame))
            except Exception as error:  # whatever it was, only this session ends
                logger.exception("starting a session in slot %d failed", seat.begin.slot)
                self._socket.send(Failed(seat.begin.lease, f"the session could not be started: {error}"))
        return ready

    def _step(self, batch: list[tuple[_Seat, Frame]]) -> None:
        if not batch:
            return
        start_ns = time.perf_counter_ns()
        try:
            codes = np.stack([np.frombuffer(frame.codes, TOKENS) for _, frame in batch])
            result = self._runner.step([seat.begin.slot for seat, _ in batch], codes)
        except Exception as error:  # whatever the step did, its sessions end and the others go on
            logger.exception("a step over %d sessions failed", len(batch))
            for seat, frame in batch:
                self._socket.send(Failed(seat.begin.lease, f"the step of frame {frame.sequence} failed: {error}"))
            return
        end_ns = time.perf_counter_ns()
        rows = np.empty((len(batch), ROW_HEAD + result.codes.shape[1]), np.int64)
        rows[:, :4] = [
            (seat.begin.lease, frame.sequence, finite, frame.arrived_ns)
            for (seat, frame), finite in zip(batch, result.finite, strict=True)
        ]
        rows[:, 4], rows[:, ROW_HEAD:] = result.text, result.codes
        self._socket.send(Stepped(start_ns, end_ns, len(batch), rows.tobytes()))
        self._stepped((end_ns - start_ns) / 1e6)

    def _stepped(self, step_ms: float) -> None:
        self._chunk.stepped(step_ms)
        self._late = self._late + 1 if step_ms > FRAME_MS else 0
        if self._late == LATE_STEPS:
            logger.warning(
                "a step takes %.0f ms, longer than a frame's %.0f: sessions fall behind; %s", step_ms, FRAME_MS, FASTER
            )

    def _rebuild(self, seat: _Seat) -> None:
        """Takes a session a chunk further."""
        begin = seat.begin
        start_ns = time.perf_counter_ns()
        try:
            if seat.rebuild is None:
                assert begin.past is not None, "only such a session is queued"
                seat.fresh = False
                seat.rebuild = self._runner.rebuild(begin.slot, begin.seed, begin.sampling, begin.past.tokens())
                begin.past = None
            done = seat.rebuild.advance(self._chunk.steps) if seat.rebuild.left else 0
            took_ms = (time.perf_counter_ns() - start_ns) / 1e6
            if done:
                self._chunk.measured(done, took_ms)
                self._socket.send(Chunk(took_ms, beside=not self._chunk.alone))
            if seat.rebuild.left:
                return
        except Exception as error:  # whatever it was, only this session ends
            logger.exception("rebuilding a session in slot %d failed", begin.slot)
            self._socket.send(Failed(begin.lease, f"the session could not be rebuilt: {error}"))
        else:
            self._socket.send(Rebuilt(begin.lease))
        seat.rebuild = None
        self._rebuilds.discard(begin.client, seat)
