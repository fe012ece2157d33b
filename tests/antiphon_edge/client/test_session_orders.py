"""Any order of a session's calls and of its workers' faults, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antiphon.errors import AntiphonError
from antiphon_edge.client.events import Reply
from tests.support.fake_workers import FakeWorker
from tests.support.session_worlds import (
    GIVEN_BACK_S,
    PATIENCE_S,
    POLICY,
    World,
    said,
)
from tests.support.virtual_time import virtual_time


@settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
class SessionMachine(RuleBasedStateMachine):
    """A session whose owner and whose workers do anything at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._context = virtual_time()
        self.loop = self._context.__enter__()
        self.world = World(self.loop)
        self.workers = [self.world.a, self.world.b]
        self.given = 0
        self.heard: list[Reply] = []
        self.sending: list[asyncio.Future[Any]] = []
        self.receiving: list[asyncio.Future[Any]] = []
        self.ending = False

    @rule()
    @precondition(lambda self: len(self.sending) < 3)
    def send(self) -> None:
        self.given += 1
        self.sending.append(self.world.start(self.world.session.send(said(self.given))))

    @rule()
    def send_live(self) -> None:
        self.given += 1
        try:
            self.world.send_live(self.given)
        except AntiphonError:
            assert self.over

    @rule()
    @precondition(lambda self: len(self.receiving) < 3)
    def receive(self) -> None:
        self.receiving.append(self.world.start(self._receive()))

    async def _receive(self) -> None:
        if (reply := await self.world.session.receive()) is not None:
            self.heard.append(reply)

    @rule(sender=st.booleans(), turns=st.integers(0, 3))
    def cancel(self, sender: bool, turns: int) -> None:
        waiting = self.sending if sender else self.receiving
        for _ in range(turns):
            self.loop.run(asyncio.sleep(0))
        if waiting:
            waiting[0].cancel()

    @rule(turns=st.integers(0, 3))
    @precondition(lambda self: self.given > 5)
    def end(self, turns: int) -> None:
        self.ending = True
        ended = self.world.start(self.world.session.end())
        for _ in range(turns):
            self.loop.run(asyncio.sleep(0))
        ended.cancel()
        self.sending.append(ended)

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.05, 0.5, 3.1, 8.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(
        which=st.integers(0, 1),
        takes=st.sampled_from(["yes", "yes", "no", "never"]),
        answers=st.booleans(),
        closes=st.booleans(),
    )
    def change(self, which: int, takes: str, answers: bool, closes: bool) -> None:
        worker = self.workers[which]
        worker.takes, worker.answers, worker.closes = takes, answers, closes
        self.loop.run(self._pump(worker))

    async def _pump(self, worker: FakeWorker) -> None:
        worker.pump()

    @rule(which=st.integers(0, 1), goes=st.booleans())
    def fault(self, which: int, goes: bool) -> None:
        worker = self.workers[which]
        worker.go_away() if goes else worker.lose()

    @property
    def over(self) -> bool:
        return self.ending or self.world.session._carrier.journal.failure is not None

    @invariant()
    def every_reply_is_the_next_one_and_right(self) -> None:
        assert [reply.sequence for reply in self.heard] == list(range(len(self.heard)))
        codes = [int(reply.codes[0]) - reply.sequence for reply in self.heard if reply.codes is not None]
        assert codes == sorted(set(codes)), "frames keep their order and none is answered twice"

    @invariant()
    def no_more_than_the_calls_that_are_needed(self) -> None:
        assert len(self.world.network.held) <= 4  # two streams, and two that are being left

    def teardown(self) -> None:
        try:
            world = self.world
            if not self.over:
                world.result(world.session.end())

            async def drained() -> None:
                with_errors = [reply async for reply in self._rest()]
                self.heard.extend(with_errors)

            for task in self.receiving:
                task.cancel()
            world.result(drained(), PATIENCE_S + POLICY.stall_s)  # nobody mends anything any more
            self.every_reply_is_the_next_one_and_right()
            world.result(world.session.abandon(), GIVEN_BACK_S)
            world.wait(0)
            for task in [*self.sending, *self.receiving]:
                assert task.done()
                if not task.cancelled() and (error := task.exception()):
                    assert isinstance(error, AntiphonError)
            world.check_given_back()
        finally:
            self._context.__exit__(None, None, None)

    async def _rest(self) -> AsyncIterator[Reply]:
        try:
            async for reply in self.world.session:
                yield reply
        except AntiphonError:
            return


TestSessionMachine = SessionMachine.TestCase
