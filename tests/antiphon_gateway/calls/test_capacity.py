"""How many calls there may be."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from antiphon.errors import NoFreeSlotError, UnavailableError
from antiphon_gateway.calls.capacity import Capacity


def test_when_all_places_are_taken_the_next_is_refused_until_one_is_free() -> None:
    capacity = Capacity(2)
    with capacity.place("a"), capacity.place("b"):
        with pytest.raises(NoFreeSlotError, match="all 2 places of this gateway are taken"), capacity.place("c"):
            pass
        assert capacity.held == 2
    with capacity.place("c"):
        assert capacity.held == 1


def test_a_client_has_no_more_calls_than_it_may_and_others_get_in() -> None:
    capacity = Capacity(10)
    with ExitStack() as calls:
        calls.enter_context(capacity.place("the API key kitchen", 1))
        with pytest.raises(NoFreeSlotError, match="the API key kitchen has 1 calls"):
            calls.enter_context(capacity.place("the API key kitchen", 1))
        calls.enter_context(capacity.place("the API key garden", 1))


async def test_a_drain_lets_nobody_in_and_waits_for_the_last() -> None:
    capacity = Capacity(2)
    with capacity.place("a"):
        capacity.drain()
        waiting = asyncio.create_task(capacity.empty())
        await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(UnavailableError, match="about to end"), capacity.place("b"):
            pass
    await waiting
