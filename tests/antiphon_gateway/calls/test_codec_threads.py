"""The threads of the codec: whose frame is done when, and with whose."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon.errors import AntiphonError
from antiphon_gateway.batch.half import BatchHalf
from antiphon_gateway.calls.codec_threads import CodecThreads
from antiphon_gateway.calls.step import Step


class Doubler:
    """A coder whose frame is a number, and its own stream."""

    def __init__(self) -> None:
        self.stream: Any = self
        self.frame = self.result = 0

    def step(self, value: int) -> int:
        self.put(value)
        self.advance()
        return self.take()

    def put(self, value: int) -> None:
        if value < 0:
            raise AntiphonError(f"{value} is no frame")
        self.frame = value

    def advance(self) -> None:
        self.result = 2 * self.frame

    def take(self) -> int:
        return self.result


class FakeBatch(BatchHalf):
    """Remembers how many streams it stepped at once."""

    def __init__(self) -> None:
        self.streams, self.worth = 4, 3
        self.lock = threading.Lock()
        self.stepped: list[int] = []

    def advance(self, streams: Sequence[Any]) -> None:
        self.stepped.append(len(streams))
        for stream in streams:
            stream.advance()


def step(value: int, batch: BatchHalf | None = None) -> Step[int]:
    return Step(Doubler(), value, lambda result: result, batch)


@asynccontextmanager
async def busy(threads: CodecThreads, count: int = 1) -> AsyncIterator[None]:
    """All threads work until the block ends, so that what is handed over in it waits."""
    begun, release = threading.Barrier(count + 1), threading.Event()

    def work() -> None:
        begun.wait()
        release.wait()

    working = [asyncio.create_task(threads.run(work)) for _ in range(count)]
    await asyncio.to_thread(begun.wait)
    yield
    await asyncio.sleep(0)  # the tasks of the block hand over
    release.set()
    await asyncio.gather(*working)


async def test_a_frames_result_comes_to_who_gave_it() -> None:
    with CodecThreads(2) as threads:
        results = await asyncio.gather(*(threads.step(step(value)) for value in range(50)))
    assert results == [2 * value for value in range(50)]


async def test_what_waits_is_done_in_the_order_in_which_it_came() -> None:
    done: list[int] = []
    with CodecThreads(1) as threads:
        async with busy(threads):
            waiting = [asyncio.create_task(threads.run(done.append, number)) for number in range(20)]
        await asyncio.gather(*waiting)
    assert done == list(range(20))


async def test_frames_of_one_half_of_a_codec_are_done_after_each_other_so_that_the_caches_hold_its_weights() -> None:
    class Other(Doubler):
        pass

    done: list[int] = []
    with CodecThreads(1) as threads:
        async with busy(threads):
            steps = [Step(Other() if number % 2 else Doubler(), number, done.append) for number in range(6)]
            waiting = [asyncio.create_task(threads.step(each)) for each in steps]
        await asyncio.gather(*waiting)
    assert done == [0, 4, 8, 2, 6, 10]


async def test_frames_of_one_codec_that_wait_are_stepped_together() -> None:
    batch = FakeBatch()
    with CodecThreads(1) as threads:
        async with busy(threads):
            waiting = [asyncio.create_task(threads.step(step(value, batch))) for value in range(9)]
        assert await asyncio.gather(*waiting) == [2 * value for value in range(9)]
    assert batch.stepped == [4, 4]  # the ninth alone


async def test_two_frames_are_stepped_one_by_one_where_a_batch_of_four_takes_longer() -> None:
    batch = FakeBatch()
    with CodecThreads(1) as threads:
        async with busy(threads):
            waiting = [asyncio.create_task(threads.step(step(value, batch))) for value in range(2)]
        assert await asyncio.gather(*waiting) == [0, 2]
    assert batch.stepped == []


async def test_a_frame_that_is_none_fails_alone() -> None:
    batch = FakeBatch()
    with CodecThreads(1) as threads:
        async with busy(threads):
            waiting = [asyncio.create_task(threads.step(step(value, batch))) for value in (1, -5, 3)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(AntiphonError, match="-5 is no frame"):
            await threads.step(step(-5))
    assert [results[0], str(results[1]), results[2]] == [2, "-5 is no frame", 6]
    assert batch.stepped == [2]


async def test_the_frames_of_two_codecs_are_not_mixed() -> None:
    one, other = FakeBatch(), FakeBatch()
    with CodecThreads(1) as threads:
        async with busy(threads):
            waiting = [asyncio.create_task(threads.step(step(i, other if i % 2 else one))) for i in range(8)]
        assert await asyncio.gather(*waiting) == [2 * i for i in range(8)]
    assert (one.stepped, other.stepped) == ([4], [4])


async def test_a_caller_that_leaves_while_its_frame_waits_disturbs_nobody() -> None:
    with CodecThreads(1) as threads:
        async with busy(threads):
            leaving = asyncio.create_task(threads.step(step(1)))
            staying = asyncio.create_task(threads.step(step(2)))
            await asyncio.sleep(0)
            leaving.cancel()
        assert await staying == 4
    assert leaving.cancelled()


async def test_long_work_holds_up_no_frame_that_another_thread_could_do() -> None:
    release = threading.Event()
    with CodecThreads(2) as threads:
        async with busy(threads, 2):
            long = asyncio.create_task(threads.run(release.wait))
            frames = [asyncio.create_task(threads.step(step(value))) for value in range(6)]
        assert await asyncio.gather(*frames) == [2 * value for value in range(6)]
        release.set()
        await long


async def test_the_end_waits_for_what_was_handed_over() -> None:
    done: list[int] = []
    with CodecThreads(2) as threads:
        waiting = [asyncio.create_task(threads.run(done.append, number)) for number in range(10)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert sorted(done) == list(range(10))
