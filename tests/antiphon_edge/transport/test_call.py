"""How a call is opened: what a worker may answer, and what is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from antiphon.errors import ProtocolError, SequenceError, UnavailableError
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_edge.client.connect import connect
from antiphon_edge.client.reconnect import Reconnect
from antiphon_edge.transport import call
from antiphon_edge.transport.call import Call
from antiphon_edge.transport.handshake import Opening
from tests.support.servers import CODEC, stub_server
from tests.support.servicers import serving
from tests.support.time_travel import NET_S, Clock
from tools.harness.stub_runner import SPEC

CODES = np.arange(8, dtype=np.int32)
OPENING = Opening(CODEC, seed=1)


def opened(change: Callable[[pb.Opened], Any] = lambda message: None) -> pb.ConverseResponse:
    """What a worker says that takes a session, but for a change."""
    message = pb.Opened(model=SPEC.to_message(), codec=CODEC.to_message(), limits=Limits(4).to_message())
    change(message)
    return pb.ConverseResponse(opened=message)


class Worker(dialogue_pb2_grpc.DialogueServiceServicer):
    """Says one thing to whoever opens a call, and no more until it is closed."""

    def __init__(self, answer: pb.ConverseResponse | None) -> None:
        self._answer = answer
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.closed = asyncio.Event()

    async def Converse(self, requests: AsyncIterator[pb.ConverseRequest], context: Any) -> None:  # noqa: N802
        await anext(requests)
        self.asked.set()
        await self.answers.wait()
        if self._answer is not None:
            await context.write(self._answer)
        async for request in requests:
            if request.HasField("close"):
                self.closed.set()
                await context.write(pb.ConverseResponse(closed=pb.Closed()))
                return


async def test_a_worker_that_asks_to_go_before_it_opens_is_unavailable() -> None:
    leaving = pb.ConverseResponse(go_away=pb.GoAway(reason="the worker is draining", time_left_ms=500))
    async with serving(Worker(leaving)) as address:
        with pytest.raises(UnavailableError, match="takes no session: the worker is draining: try another one"):
            await Call.dial(address, OPENING)
        async with stub_server() as other, connect([address, other.address], CODEC) as session:
            assert session.address == other.address


async def test_a_worker_that_drains_while_it_rebuilds_a_session_is_left_for_another() -> None:
    """SIGTERM amid a rebuild ended the conversation."""
    leaving = pb.ConverseResponse(go_away=pb.GoAway(reason="the worker is draining", time_left_ms=500))
    quick = Reconnect(first_s=0.01, longest_s=0.02, patience_s=600, stall_s=60, connect_timeout_s=60)
    async with serving(Worker(leaving)) as draining, stub_server() as first, stub_server() as third:
        addresses = [first.address, draining, third.address]
        async with connect(addresses, CODEC, reconnect=quick) as session:
            await session.send(CODES)
            assert await session.receive() is not None
            drain = asyncio.create_task(first.server.drain())
            while session.address != third.address:
                await session.send(CODES)
                assert await asyncio.wait_for(session.receive(), NET_S) is not None
            await drain


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: setattr(m.limits, "max_frames_in_flight", 0), r"limits.max_frames_in_flight 0, which must be 1 to"),
        (lambda m: setattr(m.limits, "history_steps", 2**32 - 1), r"limits.history_steps 4294967295"),
        (lambda m: setattr(m.model, "user_codebooks", 129), r"model.user_codebooks 129, which must be 0 to 128"),
        (lambda m: setattr(m.model, "model_codebooks", 5000), r"model.model_codebooks 5000"),
        (lambda m: setattr(m.model, "cardinality", 1), r"model.cardinality 1,"),
        (lambda m: setattr(m.model, "cardinality", 2**31), r"model.cardinality 2147483648"),
        (lambda m: setattr(m.model, "text_cardinality", 2**32 - 1), r"model.text_cardinality"),
        (lambda m: setattr(m.model, "delay_steps", 2**31), r"model.delay_steps"),
        (lambda m: setattr(m.model, "context_steps", 2**31), r"model.context_steps"),
        (lambda m: m.ClearField("model"), r"model.cardinality 0"),
    ],
)
async def test_figures_that_no_worker_can_mean_are_refused(change: Callable[[pb.Opened], Any], words: str) -> None:
    async with serving(Worker(opened(change))) as address:
        with pytest.raises(ProtocolError, match=rf"^the worker at {address} announces {words}.*connect to another"):
            await asyncio.wait_for(Call.dial(address, OPENING), NET_S)


async def test_a_worker_that_goes_on_at_another_frame_is_refused() -> None:
    answer = opened(lambda message: setattr(message, "step_offset", 7))
    async with serving(Worker(answer)) as address:
        with pytest.raises(SequenceError, match="goes on at frame 7 where 0 comes next"):
            await Call.dial(address, OPENING)


async def test_a_worker_that_answers_something_else_may_be_another_version() -> None:
    async with serving(Worker(pb.ConverseResponse(text="hello"))) as address:
        with pytest.raises(SequenceError, match="is it another version"):
            await Call.dial(address, OPENING)


async def test_a_worker_that_never_answers_open_is_unavailable(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout_s = 500.0
    monkeypatch.setattr(call, "OPEN_TIMEOUT_S", timeout_s)
    worker = Worker(None)
    async with serving(worker) as address:
        dialling = asyncio.create_task(Call.dial(address, OPENING))
        await asyncio.wait_for(worker.asked.wait(), NET_S)
        await clock.outlast(timeout_s)
        with pytest.raises(UnavailableError, match="did not answer Open"):
            await dialling


async def test_a_dial_that_is_cancelled_says_close_to_the_worker_that_opens_meanwhile() -> None:
    worker = Worker(opened())
    worker.answers.clear()
    async with serving(worker) as address:
        dialling = asyncio.create_task(Call.dial(address, OPENING))
        await worker.asked.wait()
        dialling.cancel()
        await asyncio.sleep(0)
        dialling.cancel()
        worker.answers.set()
        await asyncio.wait((dialling,))
        assert dialling.cancelled()
        assert worker.closed.is_set()
