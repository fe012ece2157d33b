"""A real worker with a stub model, a neighbour who talks on it all the while, and calls that do not behave."""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import grpc
import numpy as np

from antiphon.channel import FLOW_CONTROL
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.server.interceptor import SERVICE_NAME
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server
from tools.harness.stub_runner import SPEC, StubRunner, expected

ANSWER_S = 240.0  # a call of a few messages that lasts longer hangs, on however busy a machine
LONGEST_RUN_S = 7200.0
NEIGHBOUR_SEED = 1009
ALLOWED = frozenset(
    {
        "OK",
        "INVALID_ARGUMENT",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "CANCELLED",
    }
)


class WireCall:
    """One call to Converse from a client that sends any bytes it likes."""

    def __init__(self, channel: grpc.Channel, lasts_s: float = ANSWER_S) -> None:
        self._outbox: queue.Queue[bytes | None] = queue.Queue()
        self._method: Any = channel.stream_stream(f"/{SERVICE_NAME}/Converse")
        self._lasts_s = lasts_s

    @cached_property
    def _call(self) -> Any:
        """Begins with its first message: Hypothesis may think longer than a worker waits for Open."""
        return self._method(iter(self._outbox.get, None), timeout=self._lasts_s)

    def send(self, message: pb.ConverseRequest | bytes) -> None:
        self._outbox.put(message if isinstance(message, bytes) else message.SerializeToString())
        _ = self._call

    def end_sending(self) -> None:
        """Half-closes the call; gRPC's thread that takes messages from the outbox ends."""
        self._outbox.put(None)

    def answer(self) -> pb.ConverseResponse | str:
        """The next message, or the name of the status that ended the call."""
        try:
            return pb.ConverseResponse.FromString(next(self._call))
        except StopIteration:
            self.end_sending()
            return "OK"
        except grpc.RpcError as error:
            self.end_sending()
            status: str = error.code().name
            assert status != "DEADLINE_EXCEEDED", "the worker did not answer in time"
            return status

    def cancel(self) -> None:
        self._call.cancel()
        self._outbox.put(None)


class Neighbour:
    """A session that behaves, beside those that do not."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._call = WireCall(channel, LONGEST_RUN_S)
        self._call.send(pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, seed=NEIGHBOUR_SEED)))
        opened = self._call.answer()
        assert isinstance(opened, pb.ConverseResponse), opened
        self._random = np.random.default_rng(NEIGHBOUR_SEED)
        self._step = 0

    def talk(self) -> None:
        """One frame; its reply must be exactly that of this session."""
        codes = self._random.integers(0, SPEC.cardinality, SPEC.user_codebooks, np.int32)
        self._call.send(pb.ConverseRequest(codes=SPEC.user_packer.pack(codes)))
        reply = self._call.answer()
        assert isinstance(reply, pb.ConverseResponse), f"the neighbour's session ended with {reply}"
        if self._step >= SPEC.delay_steps:
            assert (SPEC.model_packer.unpack(reply.codes) == expected(codes, NEIGHBOUR_SEED, self._step)).all()
        self._step += 1

    def leave(self) -> None:
        self._call.cancel()


class _Errors(logging.Handler):
    """Keeps what the worker logs as an error: nothing that a peer sends may be one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


class WorkerUnderFire:
    """The worker, its neighbour, and the count of what was thrown at it."""

    def __init__(self, server: StubServer) -> None:
        self.address = server.address
        self.channel = grpc.insecure_channel(
            server.address, options=(*FLOW_CONTROL, ("grpc.max_send_message_length", -1))
        )
        self.neighbour_channel = grpc.insecure_channel(server.address, options=FLOW_CONTROL)
        self.neighbour = Neighbour(self.neighbour_channel)
        self.messages = 0
        self.outcomes: Counter[str] = Counter()
        self.errors = _Errors()
        logging.getLogger().addHandler(self.errors)

    def count(self, outcome: pb.ConverseResponse | str) -> None:
        """Books one message by how the worker answered it."""
        self.messages += 1
        if isinstance(outcome, str):
            assert outcome in ALLOWED, f"{outcome} is no status that a client may see"
            self.outcomes[outcome] += 1
        else:
            self.outcomes[outcome.WhichOneof("control") or "reply"] += 1

    def close(self) -> None:
        logging.getLogger().removeHandler(self.errors)
        self.neighbour.leave()
        self.channel.close()
        self.neighbour_channel.close()


@contextmanager
def worker_under_fire(slots: int = 8) -> Iterator[WorkerUnderFire]:
    """Serves from a thread of its own until the block ends; the neighbour must be well then, and the log clean."""
    options = StubOptions(runner=StubRunner(slots=slots), idle_timeout_ms=round(LONGEST_RUN_S * 1000))
    with serving(options) as server:
        worker = WorkerUnderFire(server)
        try:
            yield worker
            worker.neighbour.talk()
            assert worker.errors.messages == []
        finally:
            worker.close()


@contextmanager
def serving(options: StubOptions) -> Iterator[StubServer]:
    """A worker on a thread of its own, until the block ends."""
    loop = asyncio.new_event_loop()
    switching_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # client, worker and engine take turns at every message
    thread = threading.Thread(target=loop.run_forever, name="worker")
    thread.start()
    running = stub_server(options)

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    try:
        server = run(running.__aenter__())
        try:
            yield server
        finally:
            with suppress(AssertionError):
                run(running.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
        sys.setswitchinterval(switching_s)
