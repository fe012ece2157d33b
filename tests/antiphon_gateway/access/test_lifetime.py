"""How long a visitor's call may last, and what it is told at its end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antiphon.errors import PreconditionError, UnauthenticatedError
from antiphon.serving.key_edit import make_key
from antiphon_gateway.access.admission import Access, Limits, Rules
from antiphon_gateway.access.visitor import Visitor
from tests.support.time_travel import Clock

HERE = "192.0.2.7"
NOW_S = 1_000_000.0


def access(longest_s: float | None = None, keys: Path | None = None) -> Access:
    return Access(Rules(api_keys=keys, limits=Limits(longest_s=longest_s)), wall=lambda: NOW_S)


async def last(access: Access, visitor: Visitor, clock: Clock, seconds: float) -> None:
    """A call that is still there after so long."""

    async def call() -> None:
        async with access.lifetime(visitor):
            await asyncio.Event().wait()

    calling = asyncio.create_task(call())
    await clock.outlast(seconds)
    await asyncio.wait_for(calling, 100)


async def test_a_call_ends_when_it_has_lasted_as_long_as_one_may(clock: Clock) -> None:
    with pytest.raises(PreconditionError, match="this call has lasted 3600 s, as long as one may here: call again"):
        await last(access(3600.0), Visitor("the address x"), clock, 3600.0)


async def test_the_call_of_a_key_that_expires_ends_with_it(tmp_path: Path, clock: Clock) -> None:
    until = datetime.fromtimestamp(NOW_S + 1800, UTC)
    key = make_key(tmp_path / "keys.toml", "kitchen", expires=until)
    it = access(3600.0, tmp_path / "keys.toml")
    visitor = it.admit(HERE, {"Authorization": f"Bearer {key}"})
    assert visitor.expires_s == NOW_S + 1800
    with pytest.raises(UnauthenticatedError, match="the API key kitchen has expired, and its call with it"):
        await last(it, visitor, clock, 1800.0)


async def test_a_browsers_token_ends_no_later_than_the_key_that_it_was_made_with() -> None:
    it = access()
    token, _ = it.tokens.issue(Visitor("the API key kitchen", expires_s=NOW_S + 5))
    assert it.admit(HERE, {}, [token]).expires_s == NOW_S + 5


async def test_an_error_of_the_call_itself_stays_what_it_is() -> None:
    with pytest.raises(TimeoutError, match="its own"):
        async with access(3600.0).lifetime(Visitor("the address x")):
            raise TimeoutError("its own")
