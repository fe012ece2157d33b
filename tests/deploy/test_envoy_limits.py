"""Envoy with the configuration that is shipped: a client at its own limit is not tried on the next worker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from antiphon.errors import ClientLimitError
from antiphon_cloud.server.process import ServerConfig
from antiphon_cloud.sessions.clients import Allowance
from antiphon_edge import NEVER, connect
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server
from tools.harness.fleet import envoy
from tools.harness.stub_runner import StubRunner


def refused(worker: StubServer) -> float:
    registry = worker.server.worker.metrics.registry
    return registry.get_sample_value("antiphon_refusals_total", {"reason": "client_sessions"}) or 0.0


async def test_envoy_asks_no_other_worker_for_a_client_at_its_limit() -> None:
    config = ServerConfig(listen="127.0.0.1:0", allowance=Allowance(sessions=1))
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(stub_server(StubOptions(StubRunner(slots=2), config=config)))
            for _ in range(3)
        ]
        for worker in workers:  # past Envoy
            await stack.enter_async_context(connect(worker.address, CODEC))
        proxy = stack.enter_context(envoy([worker.address for worker in workers]))
        await asyncio.to_thread(proxy.wait_until_healthy, 3)
        with pytest.raises(ClientLimitError) as told:
            await stack.enter_async_context(connect(proxy.address, CODEC, reconnect=NEVER))
        assert told.value.retry_after_s > 0
        assert sum(map(refused, workers)) == 1
