"""A client's two directions, which end together."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.errors import UnavailableError
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.errors import MessageError


class Way:
    """One direction.

    Args:
        ends: with this; None ends well, and a way without it goes on until it is cancelled.
    """

    def __init__(self, *ends: Exception | None) -> None:
        self._ends = ends
        self.cancelled = False

    async def run(self) -> None:
        try:
            if not self._ends:
                await asyncio.Future()
            if self._ends[0] is not None:
                raise self._ends[0]
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_one_that_ends_ends_the_other() -> None:
    up, down = Way(None), Way()
    await both_ways(up.run(), down.run())
    assert down.cancelled


async def test_of_two_that_fail_the_calls_own_reason_counts() -> None:
    with pytest.raises(UnavailableError, match="gone"):
        await both_ways(Way(MessageError("no message")).run(), Way(UnavailableError("gone")).run())


async def test_a_client_that_is_gone_is_no_error() -> None:
    down = Way()
    await both_ways(Way(ConnectionResetError()).run(), down.run())
    assert down.cancelled


async def test_who_is_cancelled_leaves_nothing_behind() -> None:
    up, down = Way(), Way()
    running = asyncio.create_task(both_ways(up.run(), down.run()))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert up.cancelled
    assert down.cancelled
