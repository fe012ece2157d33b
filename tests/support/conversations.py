"""A conversation of a session under test: what is said in it, and that it is unbroken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from antiphon_edge.client.events import Change, Reconnecting, Reply
from antiphon_edge.client.reconnect import Reconnect
from antiphon_edge.client.session import Session
from tests.support.servers import StubOptions, StubServer, stub_server
from tools.harness.stub_runner import SPEC, StubRunner, expected

SEED = 5
QUICK = Reconnect(first_s=0.01, longest_s=0.1, patience_s=3600.0, stall_s=60.0, connect_timeout_s=70.0)
LONG_S = 2 * QUICK.stall_s  # of a wait that a test may move the clock in


def said(step: int) -> np.ndarray:
    """What the user says at a step."""
    return (np.arange(8, dtype=np.int32) + 3 * step) % 2048


async def exchange(session: Session, count: int) -> list[Reply]:
    replies = []
    for _ in range(count):
        await session.send(said(session.history.steps))
        reply = await asyncio.wait_for(session.receive(), LONG_S)
        assert reply is not None
        replies.append(reply)
    return replies


async def until_refused(changes: asyncio.Queue[Change]) -> Reconnecting:
    """Returns once the session waits to ask again."""
    while True:
        change = await changes.get()
        if isinstance(change, Reconnecting) and change.again_in_s:
            return change


def check_unbroken(replies: list[Reply]) -> None:
    """The replies are those of one session without a break."""
    assert [reply.sequence for reply in replies] == list(range(len(replies)))
    for reply in replies[SPEC.delay_steps :]:
        assert reply.codes is not None
        assert (reply.codes == expected(said(reply.sequence), SEED, reply.sequence)).all()


@asynccontextmanager
async def two_workers(slots: int = 4) -> AsyncIterator[tuple[StubServer, StubServer]]:
    async with (
        stub_server(StubOptions(runner=StubRunner(slots))) as first,
        stub_server(StubOptions(runner=StubRunner(slots))) as second,
    ):
        yield first, second
