"""Calls of the service over a real socket, written out message by message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from antiphon.channel import FLOW_CONTROL
from antiphon.history import History
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from tests.support.servers import CODEC, StubServer
from tools.harness.stub_runner import SPEC, expected

CODES = np.arange(8, dtype=np.int32)
PACKED = SPEC.user_packer.pack(CODES)
OPEN = pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, seed=3))


def frame(sequence: int, codes: bytes = PACKED) -> pb.ConverseRequest:
    return pb.ConverseRequest(sequence=sequence, codes=codes)


def history(steps: int) -> History:
    """What an edge keeps of the stub's first steps."""
    kept = History(SPEC, 1000)
    for step in range(steps):
        reply = SPEC.model_packer.pack(expected(CODES, seed=3, step=step)) if step else b""
        kept.append(PACKED, step or None, reply)
    return kept


def resuming(steps: int, token: bytes = b"") -> pb.ConverseRequest:
    past = history(steps).to_message()
    return pb.ConverseRequest(
        open=pb.Open(codec_fingerprint=CODEC.fingerprint, seed=3, history=past, resume_token=token)
    )


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[Any, grpc.aio.Channel]]:
    async with grpc.aio.insecure_channel(address, options=FLOW_CONTROL) as channel:
        yield dialogue_pb2_grpc.DialogueServiceStub(channel), channel


async def open_session(stub: Any) -> tuple[Any, pb.Opened]:
    """A call whose session is open, and what it was told."""
    call = stub.Converse()
    await call.write(OPEN)
    return call, (await call.read()).opened


async def converse(address: str, *requests: pb.ConverseRequest) -> list[pb.ConverseResponse]:
    """Sends the requests, half-closes and reads everything that comes back."""
    async with connected(address) as (stub, _):
        call = stub.Converse()
        for request in requests:
            await call.write(request)
        await call.done_writing()
        return [response async for response in call]


async def status_of(address: str, *requests: pb.ConverseRequest) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asyncio.wait_for(converse(address, *requests), 20)
    return raised.value


async def wait_until_free(server: StubServer) -> None:
    """Returns once no session holds a slot; the test's timeout ends a wait for one that leaks."""
    while (await load_of(server)).sessions:  # each look is a round trip to the worker
        pass


async def load_of(server: StubServer) -> pb.Load:
    async with connected(server.address) as (stub, _):
        response: pb.GetModelResponse = await stub.GetModel(pb.GetModelRequest())
        return response.load
