"""One timer for a call's many waits: each has its own time, and only a wait that is too long ends."""

import asyncio
from collections.abc import Iterator

import pytest

from antiphon.errors import SessionTimeoutError
from antiphon_cloud.server.deadline import IdleTimeout
from tests.support.virtual_time import VirtualTimeLoop, virtual_time


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    with virtual_time() as running:
        yield running


def test_a_wait_that_lasts_too_long_ends_and_says_what_was_waited_for(loop: VirtualTimeLoop) -> None:
    async def wait() -> None:
        began_s = loop.time()
        with IdleTimeout(0.05) as timeout:
            message = r"no frame came for 0\.05 s"
            with pytest.raises(SessionTimeoutError, match=message), timeout.waiting("no frame came"):
                await loop.create_future()
            assert loop.time() - began_s == pytest.approx(0.05)
            assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]

    loop.run(wait())


def test_many_short_waits_may_last_longer_together(loop: VirtualTimeLoop) -> None:
    async def wait() -> None:
        with IdleTimeout(0.5) as timeout:
            for _ in range(10):
                with timeout.waiting("nothing"):
                    await asyncio.sleep(0.4)

    loop.run(wait())


def test_a_wait_has_its_whole_time_however_late_it_begins(loop: VirtualTimeLoop) -> None:
    async def wait() -> None:
        with IdleTimeout(0.2) as timeout:
            await asyncio.sleep(0.15)
            began_s = loop.time()
            with pytest.raises(SessionTimeoutError), timeout.waiting("nothing"):
                await loop.create_future()
            assert loop.time() - began_s == pytest.approx(0.2)

    loop.run(wait())


def test_time_between_two_waits_does_not_count(loop: VirtualTimeLoop) -> None:
    async def wait() -> None:
        with IdleTimeout(0.05) as timeout:
            for between_s in (0.15, 0.0):
                with timeout.waiting("nothing"):
                    await asyncio.sleep(0)
                await asyncio.sleep(between_s)

    loop.run(wait())


async def test_who_cancels_the_task_itself_is_not_told_of_a_timeout() -> None:
    async def wait() -> None:
        with IdleTimeout(60.0) as timeout, timeout.waiting("nothing"):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_an_error_that_comes_with_the_timeout_is_not_hidden_by_it(loop: VirtualTimeLoop) -> None:
    async def fail() -> None:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            raise ValueError("broken") from None

    async def wait() -> None:
        with IdleTimeout(0.05) as timeout, pytest.raises(ValueError, match="broken"), timeout.waiting("nothing"):
            await fail()

    loop.run(wait())
