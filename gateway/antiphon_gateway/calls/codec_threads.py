"""The threads in which all calls encode and decode."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from antiphon_gateway.batch.half import BatchHalf
from antiphon_gateway.calls.step import Step, attempt, step_in_turn, step_together

T = TypeVar("T")

MOST_IN_TURN = 8  # frames of a small codec, of which the first waits for the last


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    work: Callable[[], Any] | Step[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    @property
    def kind(self) -> object:
        """What jobs have in common that are done at once, or in a row so that the caches hold the weights."""
        if not isinstance(self.work, Step):
            return self
        return self.work.batch or type(self.work.coder)


class CodecThreads:
    """A bounded number of threads for the work of all calls, first come, first served.

    A call has at most one frame on its way up and one on its way down here, so that none waits for more than a frame of
    each other call. A thread takes its share of the frames that wait for the same half of the codec: a busy gateway
    hands over many at once, finds the weights in the processor's caches, and steps those of a large codec together.

    Args:
        count: threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._waiting: deque[_Job] = deque()  # bounded by the calls
        self._news = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, name=f"codec_{number}") for number in range(count)]

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """The result of `work(*arguments)`, done in one of the threads."""
        return await self._hand_over(lambda: work(*arguments))

    async def step(self, step: Step[T]) -> T:
        """The result of a frame; errors as its coder's."""
        return await self._hand_over(step)

    def _hand_over(self, work: Callable[[], T] | Step[T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._news:
            self._waiting.append(_Job(work, future, loop))
            self._news.notify()
        return future

    def _serve(self) -> None:
        while jobs := self._take():
            jobs[0].loop.call_soon_threadsafe(_give_back, jobs, _results(jobs))

    def _take(self) -> list[_Job]:
        """What a thread does next: the oldest job, and its share of those of the same kind. Nothing at the end."""
        with self._news:
            while not (self._waiting or self._closed):
                self._news.wait()
            if not self._waiting:
                return []
            kind = self._waiting[0].kind
            same = [job for job in self._waiting if job.kind == kind]
            taken = same[: self._share(kind, len(same))]
            self._waiting = deque(job for job in self._waiting if job not in taken)
            return taken

    def _share(self, kind: object, count: int) -> int:
        """How many of so many jobs of a kind a thread takes."""
        if isinstance(kind, BatchHalf):
            return kind.streams if count >= kind.worth else 1
        return min(MOST_IN_TURN, -(-count // self.count))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._closed = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join()


def _results(jobs: list[_Job]) -> list[Any | Exception]:
    """What jobs of one kind make, or why they cannot."""
    batch, steps = jobs[0].kind, [job.work for job in jobs if isinstance(job.work, Step)]
    if isinstance(batch, BatchHalf) and len(jobs) >= batch.worth:
        with batch.lock:
            return step_together(batch, steps)
    if steps:
        return step_in_turn(steps)
    return [attempt(job.work) for job in jobs if not isinstance(job.work, Step)]


def _give_back(jobs: list[_Job], results: list[Any | Exception]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.future.done():
            continue  # nobody waits any more
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)
