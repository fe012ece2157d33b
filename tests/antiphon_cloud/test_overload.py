"""More clients than a worker can serve: some are served, the rest are refused at once and told when to return."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from antiphon.errors import NoFreeSlotError
from antiphon_cloud.sessions.admission import RETRY_SPAN_S
from antiphon_edge import Session, connect
from tests.support.servers import CODEC, StubOptions, stub_server
from tools.harness.stub_runner import StubRunner

CODES = np.arange(8, dtype=np.int32)
CROWD = 40


async def test_of_a_crowd_as_many_are_admitted_as_there_are_slots_and_all_others_refused() -> None:
    decided = asyncio.Event()
    outcomes: list[float | None] = []

    async def one(address: str) -> None:
        try:
            async with connect(address, CODEC):
                outcomes.append(None)
                if len(outcomes) == CROWD:
                    decided.set()
                await decided.wait()
        except NoFreeSlotError as error:
            outcomes.append(error.retry_after_s)
            if len(outcomes) == CROWD:
                decided.set()

    async with stub_server(StubOptions(runner=StubRunner(slots=4))) as server:
        await asyncio.wait_for(asyncio.gather(*(one(server.address) for _ in range(CROWD))), 60)
    waits_s = [wait_s for wait_s in outcomes if wait_s is not None]
    assert len(waits_s) == CROWD - 4
    assert all(1 <= wait_s <= RETRY_SPAN_S for wait_s in waits_s)
    assert max(waits_s) > min(waits_s)  # they do not all come back at once


async def test_a_free_slot_is_refused_where_a_step_would_take_too_long() -> None:
    options = StubOptions(profile={1: 10.0, 2: 100.0})
    async with stub_server(options) as server:
        async with connect(server.address, CODEC) as first:
            with pytest.raises(NoFreeSlotError, match="a step over 2 sessions would take 100 ms of a frame's 80"):
                async with connect(server.address, CODEC):
                    pass
            await _exchange(first)
            await first.end()
            assert await first.receive() is None
        async with connect(server.address, CODEC) as next_one:
            await _exchange(next_one)


async def _exchange(session: Session) -> None:
    await session.send(CODES)
    assert await session.receive() is not None
