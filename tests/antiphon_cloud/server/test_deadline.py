"""One timer for a call's many waits: each has its own time, and only a wait that is too long ends."""

import asyncio

import pytest

from antiphon.errors import SessionTimeoutError
from antiphon_cloud.server.deadline import IdleTimeout


async def test_a_wait_that_lasts_too_long_ends_and_says_what_was_waited_for() -> None:
    with IdleTimeout(0.05) as timeout:
        with pytest.raises(SessionTimeoutError, match=r"no frame came for 0\.05 s"), timeout.waiting("no frame came"):
            await asyncio.get_running_loop().create_future()
        assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


async def test_many_short_waits_may_last_longer_together() -> None:
    loop = asyncio.get_running_loop()
    with IdleTimeout(0.5) as timeout:
        end_s = loop.time() + 1.0
        while loop.time() < end_s:
            with timeout.waiting("nothing"):
                await asyncio.sleep(0)


async def test_a_wait_has_its_whole_time_however_late_it_begins() -> None:
    loop = asyncio.get_running_loop()
    with IdleTimeout(0.2) as timeout:
        await asyncio.sleep(0.15)
        began_s = loop.time()
        with pytest.raises(SessionTimeoutError), timeout.waiting("nothing"):
            await loop.create_future()
        assert loop.time() - began_s >= 0.2


async def test_time_between_two_waits_does_not_count() -> None:
    with IdleTimeout(0.05) as timeout:
        with timeout.waiting("nothing"):
            await asyncio.sleep(0)
        await asyncio.sleep(0.15)
        with timeout.waiting("nothing"):
            await asyncio.sleep(0)


async def test_who_cancels_the_task_itself_is_not_told_of_a_timeout() -> None:
    async def wait() -> None:
        with IdleTimeout(60.0) as timeout, timeout.waiting("nothing"):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_that_comes_with_the_timeout_is_not_hidden_by_it() -> None:
    async def fail() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ValueError("broken") from None

    with IdleTimeout(0.05) as timeout, pytest.raises(ValueError, match="broken"), timeout.waiting("nothing"):
        await fail()
