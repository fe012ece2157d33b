"""Readiness follows the workers: lost, frozen, draining, and back."""

from __future__ import annotations

import asyncio

import pytest

from antiphon_gateway.calls.fleet import Fleet
from antiphon_gateway.server.worker_watch import ANSWER_S, LOOK_S, WorkerWatch
from tests.support.commands import worker
from tests.support.gateways import gateway
from tests.support.ports import unused_address
from tests.support.time_travel import Clock, until
from tools.harness.worker_process import Worker


async def test_a_worker_that_dies_later_and_comes_back_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    with worker() as doomed:
        async with gateway([doomed.address]) as server:
            assert server.workers is not None
            await server.workers.look()
            assert server.not_ready() is None
            doomed.kill()
            await server.workers.look()
            await server.workers.look()
            assert server.not_ready() == "no worker for a dialogue answers"
            with worker("--listen", doomed.address):
                await server.workers.look()
                assert server.not_ready() is None
    told = [record.getMessage() for record in caplog.records if "worker for" in record.getMessage()]
    assert told == ["no worker for a dialogue answers: no caller is served"], "once, however often it looks"


async def test_it_looks_by_itself(clerk: Worker, clock: Clock) -> None:
    async with gateway([clerk.address]) as server:
        assert server.workers is not None
        server.workers.lost.add("a dialogue")
        await clock.outlast(LOOK_S)
        await until(lambda: server.not_ready() is None)


async def test_a_worker_that_hangs_does_not_answer(clock: Clock) -> None:
    with worker() as hanging:
        watch = WorkerWatch({"a dialogue": await Fleet.find([hanging.address])})
        hanging.freeze()
        looking = asyncio.create_task(watch.look())
        await clock.outlast(ANSWER_S)
        await clock.outlast(ANSWER_S)
        await looking
        hanging.thaw()
        assert watch.failure == "no worker for a dialogue answers"


async def test_one_worker_of_a_kind_is_enough_and_other_kinds_do_not_count(clerk: Worker) -> None:
    fleet = await Fleet.find([clerk.address])
    fleet.addresses = (unused_address(), clerk.address)
    gone = await Fleet.find([clerk.address])
    gone.addresses = (unused_address(),)
    watch = WorkerWatch({"a dialogue": fleet, "speech to text": gone})
    await watch.look()
    assert watch.failure is None
    assert watch.lost == {"speech to text"}
