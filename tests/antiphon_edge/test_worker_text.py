"""What a worker writes is shown and never obeyed: replies, reasons, errors, names; and tokens are the model's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest

from antiphon.errors import ProtocolError
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_edge.client.connect import connect
from tests.support.servers import CODEC
from tests.support.servicers import serving
from tools.harness.stub_runner import SPEC

EVIL = "\x1b]52;c;cm0gLXJmIH4=\x07\x1b[2J"
REFUSED_SEED = 7
SHOWN = "]52;c;cm0gLXJmIH4=[2J"


class EvilService(dialogue_pb2_grpc.DialogueServiceServicer):
    """Asks the edge to go as it answers a frame; refuses a session with a seed."""

    async def Converse(self, requests: AsyncIterator[pb.ConverseRequest], context: Any) -> None:  # noqa: N802
        request = await anext(requests)
        if request.open.seed == REFUSED_SEED:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"line\n{EVIL}")
        model = SPEC.to_message()
        model.name, model.delay_steps = EVIL, 0
        opened = pb.Opened(session_id="s", model=model, codec=CODEC.to_message(), limits=Limits(1).to_message())
        await context.write(pb.ConverseResponse(opened=opened))
        request = await anext(requests)
        codes = SPEC.model_packer.pack(np.zeros(8, np.int32))
        await context.write(pb.ConverseResponse(go_away=pb.GoAway(reason=EVIL, time_left_ms=60_000)))
        await context.write(pb.ConverseResponse(sequence=request.sequence, codes=codes, text=EVIL, text_token=5))
        await anext(requests, None)


class BabblingService(dialogue_pb2_grpc.DialogueServiceServicer):
    """Answers the first frame with the last text token that the model has, and the second one with the next."""

    async def Converse(self, requests: AsyncIterator[pb.ConverseRequest], context: Any) -> None:  # noqa: N802
        await anext(requests)
        model = SPEC.to_message()
        model.delay_steps = 0
        opened = pb.Opened(session_id="s", model=model, codec=CODEC.to_message(), limits=Limits(1).to_message())
        await context.write(pb.ConverseResponse(opened=opened))
        codes = SPEC.model_packer.pack(np.zeros(8, np.int32))
        for token in (SPEC.text_cardinality - 1, SPEC.text_cardinality):
            await anext(requests)
            await context.write(pb.ConverseResponse(codes=codes, text_token=token))
        await anext(requests, None)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with serving(EvilService()) as evil:
        yield evil


async def test_replies_names_and_reasons_are_shown_and_not_obeyed(address: str) -> None:
    async with connect(address, CODEC, seed=1) as session:
        await session.send(np.zeros(8, np.int32))
        reply = await session.receive()
        assert reply is not None
        assert (session.model.name, reply.text) == (SHOWN, SHOWN)
        assert session.go_away is not None
        assert session.go_away.reason == SHOWN


async def test_errors_are_shown_and_not_obeyed(address: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        async with connect(address, CODEC, seed=REFUSED_SEED):
            pass
    assert str(refused.value) == f"line {SHOWN}"


async def test_a_text_token_that_the_model_does_not_have_ends_the_session_in_one_sentence() -> None:
    codes = np.zeros(8, np.int32)
    async with serving(BabblingService()) as address, connect(address, CODEC, seed=1) as session:
        await session.send(codes)
        reply = await session.receive()
        assert reply is not None
        assert reply.text_token == SPEC.text_cardinality - 1 == 255
        await session.send(codes)
        refused = r"^text_token: 256 is outside \[0, 256\): open a new session$"
        with pytest.raises(ProtocolError, match=refused):
            await session.receive()
        with pytest.raises(ProtocolError, match=refused):
            await session.send(codes)
        assert session.history.steps == 1  # nobody goes on from a token that cannot be
        assert not session.resumptions
