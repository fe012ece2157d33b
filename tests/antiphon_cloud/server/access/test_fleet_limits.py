"""Limits of a client at all workers together: three workers, one service that counts, and the file that is shipped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import numpy as np
import pytest

from antiphon.errors import AntiphonError, ClientLimitError, NoFreeSlotError
from antiphon_cloud.server.access.fleet_limits import MINUTE_S
from antiphon_cloud.server.process import ServerConfig
from antiphon_edge import NEVER, Session, connect
from tests.support.ports import unused_address
from tests.support.rate_limits import Counts, rate_limit_service
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server
from tests.support.time_travel import Clock, until
from tools.harness.stub_runner import StubRunner

AT_ONCE = 4  # sessions, as shipped


class Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def counts(time: Time) -> Counts:
    return Counts(time)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def workers(stack: AsyncExitStack, service: str, count: int = 3) -> list[StubServer]:
    config = ServerConfig(listen="127.0.0.1:0", fleet_limits=service)
    return [await stack.enter_async_context(stub_server(StubOptions(config=config))) for _ in range(count)]


async def open_at(stack: AsyncExitStack, worker: StubServer) -> Session:
    return await stack.enter_async_context(connect(worker.address, CODEC, reconnect=NEVER))


async def test_sessions_at_all_workers_count_together(stack: AsyncExitStack, counts: Counts, time: Time) -> None:
    service = await stack.enter_async_context(rate_limit_service(counts))
    fleet = await workers(stack, service)
    for number in range(AT_ONCE):
        await open_at(stack, fleet[number % 3])
    for worker in fleet:
        with pytest.raises(ClientLimitError, match="has as many sessions as it may at all workers together") as refused:
            await open_at(stack, worker)
        assert 0 < refused.value.retry_after_s <= MINUTE_S + 1
    registry = fleet[2].server.worker.metrics.registry
    assert registry.get_sample_value("antiphon_refusals_total", {"reason": "client_sessions"}) == 1


async def test_a_worker_that_is_full_takes_no_minute(stack: AsyncExitStack, counts: Counts) -> None:
    service = await stack.enter_async_context(rate_limit_service(counts))
    config = ServerConfig(listen="127.0.0.1:0", fleet_limits=service)
    options = StubOptions(config=config, runner=StubRunner(slots=2))
    worker = await stack.enter_async_context(stub_server(options))
    for _ in range(2):
        await open_at(stack, worker)
    with pytest.raises(NoFreeSlotError):
        await open_at(stack, worker)
    taken = Counter(limit for limit, _, _ in counts.hits.elements())
    assert taken == {"opens": 3, "sessions": 2}


async def test_opens_at_all_workers_count_together(stack: AsyncExitStack, counts: Counts) -> None:
    service = await stack.enter_async_context(rate_limit_service(counts))
    fleet = await workers(stack, service)
    await open_at(stack, fleet[0])
    counts.hits["opens", counts_client(counts), 0] = counts.allowed("opens", "anyone")
    with pytest.raises(ClientLimitError, match="opens more sessions than it may at all workers together"):
        await open_at(stack, fleet[1])


def counts_client(counts: Counts) -> str:
    """The one client's name, as its worker gave it."""
    (name,) = {client for _, client, _ in counts.hits}
    return name


async def test_a_session_takes_each_of_its_minutes_and_ends_where_there_are_none(
    stack: AsyncExitStack, counts: Counts, time: Time, clock: Clock
) -> None:
    service = await stack.enter_async_context(rate_limit_service(counts))
    (worker,) = await workers(stack, service, 1)
    session = await open_at(stack, worker)
    client = counts_client(counts)
    time.now_s = MINUTE_S
    await clock.outlast(MINUTE_S)
    await until(lambda: counts.hits["sessions", client, 1] == 1)
    await session.send(np.arange(8, dtype=np.int32))
    await session.receive()

    def asked(minute: int) -> bool:
        return counts.hits["sessions", client, minute] > AT_ONCE

    for minute in (2, 3):
        counts.hits["sessions", client, minute] = AT_ONCE
        time.now_s = minute * MINUTE_S
        clock.advance(MINUTE_S + 2)
        await until(partial(asked, minute))
    with pytest.raises(AntiphonError) as ended:
        await asyncio.wait_for(session.receive(), 100)
    assert isinstance(ended.value, ClientLimitError)
    assert "has more sessions than it may at all workers together: this one ends" in str(ended.value)


async def test_a_service_that_does_not_answer_refuses_nobody_and_is_told_once(
    stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    (worker,) = await workers(stack, unused_address(), 1)
    for _ in range(2):
        await open_at(stack, worker)
    assert caplog.text.count("does not answer") == 1


def test_a_client_may_have_limits_of_its_own(counts: Counts) -> None:
    assert counts.allowed("sessions", "the API key bulk") == 100
    assert counts.allowed("sessions", "the API key kitchen") == AT_ONCE
