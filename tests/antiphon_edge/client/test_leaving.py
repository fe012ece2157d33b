"""Whoever leaves a session gives its slot, its call and its tasks back before the block ends, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import numpy as np
import pytest

from antiphon_edge.client import stream
from antiphon_edge.client.connect import connect
from antiphon_edge.client.reconnect import NEVER
from antiphon_edge.client.session import Session
from antiphon_edge.transport import call
from tests.support.calls import wait_until_free
from tests.support.servers import CODEC, StubOptions, stub_server
from tools.harness.stub_runner import StubRunner

CODES = np.arange(8, dtype=np.int32)
ENDINGS = 12  # of each kind, on four slots that nobody but the edge gives back in time
A_LITTLE_S = 0.001  # the endings are spread over dialling, opening and talking; where each falls does not matter


@pytest.fixture(autouse=True)
def time_to_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine, Close is taken."""
    for module in (call, stream):
        monkeypatch.setattr(module, "LEAVE_S", 60.0)


async def returns(address: str, _: int) -> None:
    """The block is left at once."""
    async with connect(address, CODEC):
        pass


async def raises(address: str, turn: int) -> None:
    """An error of the application."""
    with suppress(KeyError):
        async with connect(address, CODEC) as session:
            if turn % 2:
                await session.send(CODES)
            raise KeyError("the application's own error")


async def within(session: Session) -> None:
    while True:
        await session.send(CODES)
        await session.receive()


async def talks(address: str) -> None:
    async with connect(address, CODEC, reconnect=NEVER) as session:
        await within(session)


async def cancelled(address: str, turn: int, times: int = 1) -> None:
    """Cancelled amid dialling, opening or talking, more than once."""
    task = asyncio.create_task(talks(address))
    await asyncio.sleep(turn * A_LITTLE_S)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait((task,))
    assert task.cancelled()


async def cancelled_twice(address: str, turn: int) -> None:
    await cancelled(address, turn, times=2)


async def gathered(address: str, turn: int) -> None:
    """Whoever gathered several is cancelled."""
    talking = [asyncio.create_task(talks(address)) for _ in range(3)]
    gathering = asyncio.gather(*talking)
    await asyncio.sleep(turn * A_LITTLE_S)
    gathering.cancel()
    with suppress(asyncio.CancelledError):
        await gathering
    await asyncio.wait(talking)  # the first one's end ends the gathering


async def grouped(address: str, turn: int) -> None:
    """One task of a group fails, the others are cancelled."""

    async def fails() -> None:
        await asyncio.sleep(turn * A_LITTLE_S)
        raise KeyError("the application's own error")

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(talks(address))
            tasks.create_task(fails())


Ending = Callable[[str, int], Awaitable[None]]


@pytest.mark.parametrize("ending", [returns, raises, cancelled, cancelled_twice, gathered, grouped])
async def test_nothing_is_held_after_an_ending(ending: Ending) -> None:
    options = StubOptions(StubRunner(slots=4))
    async with stub_server(options) as server:
        loop = asyncio.get_running_loop()

        async def free() -> None:
            await wait_until_free(server)

        async def edge() -> None:
            for turn in range(ENDINGS):
                with suppress(asyncio.CancelledError):
                    await ending(server.address, turn)
                assert asyncio.all_tasks() == {asyncio.current_task()}, ending.__doc__
                freed = asyncio.run_coroutine_threadsafe(free(), loop)
                await asyncio.wait_for(asyncio.wrap_future(freed), 60)

        await asyncio.to_thread(asyncio.run, edge())  # a loop in which nothing is but the edge's


async def test_a_draining_worker_is_not_held_up_by_those_who_leave() -> None:
    async with stub_server() as server:
        context = connect(server.address, CODEC)
        await context.__aenter__()
        drain = asyncio.create_task(server.server.drain())
        await context.__aexit__(None, None, None)
        await asyncio.wait_for(drain, 60)
