"""A client's own limit, told from a full worker: nobody asks another worker, as that would be a way around it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from antiphon.errors import ClientLimitError, NoFreeSlotError
from antiphon_cloud.server.process import ServerConfig
from antiphon_cloud.sessions.clients import Allowance
from antiphon_edge import connect
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server
from tools.harness.stub_runner import StubRunner

LIMITS = {
    "sessions at once": (Allowance(sessions=1), "client_sessions"),
    "opens in a minute": (Allowance(opens_per_minute=1), "open_rate"),
}


def limited(allowance: Allowance) -> StubOptions:
    return StubOptions(StubRunner(slots=2), config=ServerConfig(listen="127.0.0.1:0", allowance=allowance))


async def three(stack: AsyncExitStack, allowance: Allowance) -> list[StubServer]:
    return [await stack.enter_async_context(stub_server(limited(allowance))) for _ in range(3)]


def asked(worker: StubServer) -> float:
    """Converse calls that it has ended, or carries."""
    metrics = worker.server.worker.metrics.registry.collect()
    ended = sum(s.value for m in metrics for s in m.samples if s.name == "antiphon_calls_total")
    return ended + worker.server.worker.served.sessions.carried


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_client_at_its_limit_is_told_so_by_the_first_worker_and_asks_no_other(limit: str) -> None:
    allowance, reason = LIMITS[limit]
    async with AsyncExitStack() as stack:
        workers = await three(stack, allowance)
        addresses = [worker.address for worker in workers]
        await stack.enter_async_context(connect(addresses, CODEC))
        with pytest.raises(ClientLimitError) as refused:
            await stack.enter_async_context(connect(addresses, CODEC))
        assert refused.value.retry_after_s > 0
        registry = workers[0].server.worker.metrics.registry
        assert registry.get_sample_value("antiphon_refusals_total", {"reason": reason}) == 1
        assert [asked(worker) for worker in workers] == [2, 0, 0]


async def test_a_full_worker_is_passed_over_for_the_next() -> None:
    async with AsyncExitStack() as stack:
        workers = await three(stack, Allowance())
        addresses = [worker.address for worker in workers]
        for address in (addresses[0], addresses[0]):
            await stack.enter_async_context(connect(address, CODEC))
        session = await stack.enter_async_context(connect(addresses, CODEC))
        assert session.address == addresses[1]


async def test_the_last_slot_is_left_to_others_here_and_another_worker_may_be_asked() -> None:
    async with AsyncExitStack() as stack:
        worker, *_ = await three(stack, Allowance(leaves_last_slot=True))
        await stack.enter_async_context(connect(worker.address, CODEC))
        with pytest.raises(NoFreeSlotError) as refused:
            await stack.enter_async_context(connect(worker.address, CODEC))
        assert not isinstance(refused.value, ClientLimitError)
