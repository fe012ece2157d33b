"""What attacks on a worker have in common: a victim, a newcomer, and what a client without manners sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antiphon_cloud.server.interceptor import SERVICE_NAME
from tests.support.calls import CODES, OPEN, connected, converse, frame, open_session
from tests.support.servers import StubServer
from tools.harness.stub_runner import SPEC, expected

GET_MODEL, GET_CODEC = f"/{SERVICE_NAME}/GetModel", f"/{SERVICE_NAME}/GetCodec"
WATCH = "/grpc.health.v1.Health/Watch"
SHUT = 0  # a window that never opens
OPENING = OPEN.SerializeToString()
END_S = 120.0  # a wait that lasts so long would last for ever; longer than what a test moves the clock meanwhile


def taken(server: StubServer) -> int:
    assert server.server.worker.serving is not None
    return server.server.worker.serving.engine.sessions


@asynccontextmanager
async def victim(server: StubServer) -> AsyncIterator[None]:
    """A session that talks before and after the block, and is not disturbed by it."""
    async with connected(server.address) as (stub, _):
        call, _ = await open_session(stub)

        async def talk(steps: range) -> None:
            for step in steps:
                await call.write(frame(step))
                reply = await asyncio.wait_for(call.read(), END_S)
                if step:
                    assert (SPEC.model_packer.unpack(reply.codes) == expected(CODES, seed=3, step=step)).all()

        await talk(range(5))
        yield
        await talk(range(5, 10))
        call.cancel()


async def newcomer(server: StubServer) -> None:
    """Opens a session, and must be let in."""
    assert len(await asyncio.wait_for(converse(server.address, OPEN, frame(0)), END_S)) == 3
