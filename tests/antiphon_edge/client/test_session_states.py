"""Every state of a session × every call of its owner, on a clock of the test's own: nothing waits without a bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, PreconditionError, SequenceError, UnavailableError
from antiphon_edge.client.events import Change, Reconnecting, Reply
from antiphon_edge.client.reconnect import NEVER, Reconnect
from antiphon_edge.client.session import Session
from antiphon_edge.transport.call import LEAVE_S
from antiphon_edge.transport.handshake import Opening
from tests.support.fake_workers import FakeNetwork, FakeWorker
from tests.support.servers import CODEC
from tests.support.virtual_time import VirtualTimeLoop, virtual_time
from tools.harness.stub_runner import expected

POLICY = Reconnect(first_s=0.1, longest_s=2.0, patience_s=20.0, stall_s=3.0, connect_timeout_s=1.0)
AT_ONCE_S = 0.5  # some messages on the fake network
GIVEN_BACK_S = LEAVE_S + AT_ONCE_S
PATIENCE_S = POLICY.patience_s + POLICY.stall_s + POLICY.connect_timeout_s + AT_ONCE_S  # from the first silence on


def said(number: int) -> Codes:
    """What the user says: the number can be read from it."""
    return np.full(8, number % 1000, np.int32)


@dataclass
class World:
    """A session on the first of two fake workers."""

    loop: VirtualTimeLoop
    policy: Reconnect = POLICY
    network: FakeNetwork = field(default_factory=lambda: FakeNetwork("a:1", "b:1"))
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.a, self.b = self.network.workers.values()
        self.b.takes = "no"
        opening = Opening(CODEC, seed=0)

        async def opened() -> Session:
            addresses = list(self.network.workers)
            return await Session.open(addresses, opening, self.policy, self.changes.append, self.network.dial)

        self.session = self.loop.run(opened())

    def start(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        """Begins a call of the owner."""

        async def begun() -> asyncio.Future[Any]:
            return asyncio.ensure_future(work)

        return self.loop.run(begun())

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.loop.run(asyncio.sleep(seconds))

    def result(self, work: Awaitable[Any], within_s: float = AT_ONCE_S) -> Any:
        """What a call of the owner gives, which must not take longer."""

        async def bounded() -> Any:
            return await asyncio.wait_for(work, within_s)

        return self.loop.run(bounded())

    def send(self, number: int) -> int:
        return int(self.result(self.session.send(said(number))))

    def send_live(self, number: int) -> None:
        async def now() -> None:
            self.session.send_live(said(number))

        self.loop.run(now())

    def check_given_back(self) -> None:
        """Nothing is left of the session: no call, no task."""
        assert not self.network.held
        assert not self.loop.tasks


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    with virtual_time() as running:
        yield running


# The states, each as somebody comes into it. None of them ends by itself before the patience is over.


def is_open(world: World) -> None:
    """A stream answers."""


def stalled(world: World) -> None:
    """Frames are unanswered for too long, and nobody else takes the session."""
    world.a.answers, world.a.takes = False, "never"
    world.send(0)
    world.wait(POLICY.stall_s + 1)
    assert isinstance(world.changes[-1], Reconnecting)


def moving(world: World) -> None:
    """The worker has asked the session to go, and nobody else takes it."""
    world.a.takes = "no"
    world.a.go_away()
    world.wait(1)
    assert world.session.go_away is not None


def lost(world: World) -> None:
    """The stream has broken, and nobody takes the session."""
    world.a.takes = "never"
    world.a.lose()
    world.wait(1)
    assert isinstance(world.changes[-1], Reconnecting)


def lost_amid_a_frame(world: World) -> None:
    """The same, with a frame under way."""
    world.a.answers = False
    world.send(0)
    lost(world)


def ending(world: World) -> None:
    """No more frames will come; one is unanswered."""
    world.a.answers = False
    world.send(0)
    world.result(world.session.end())


def ending_while_moving(world: World) -> None:
    world.a.answers = False
    world.send(0)
    moving(world)
    world.result(world.session.end())


def ending_while_lost(world: World) -> None:
    lost_amid_a_frame(world)
    world.result(world.session.end())


def ended_well(world: World) -> None:
    world.result(world.session.end())
    assert world.result(world.session.receive()) is None


def ended_with_an_error(world: World) -> None:
    world.a.takes = world.b.takes = "final"
    world.a.lose()
    world.wait(1)


def abandoned(world: World) -> None:
    world.result(world.session.abandon(), GIVEN_BACK_S)


State = Callable[[World], None]
LIVE: list[State] = [is_open, stalled, moving, lost, lost_amid_a_frame]
ENDING: list[State] = [ending, ending_while_moving, ending_while_lost]
ENDED: list[State] = [ended_well, ended_with_an_error, abandoned]
WHY: dict[State, type[AntiphonError]] = {ended_with_an_error: PreconditionError, abandoned: SequenceError}


@pytest.mark.parametrize("state", LIVE)
def test_a_frame_is_taken_in_every_state_before_the_end(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    under_way = world.session.in_flight
    assert world.send(1) == under_way
    world.send_live(2)
    assert world.session.in_flight == under_way + 2
    for worker in (world.a, world.b):  # all is well again
        worker.answers, worker.takes = True, "yes"
        worker.pump()
    replies = [world.result(world.session.receive(), POLICY.longest_s * 2) for _ in range(under_way + 2)]
    assert [reply.sequence for reply in replies] == list(range(under_way + 2))
    assert replies[-1].codes.tolist() == expected(said(2), 0, under_way + 1).tolist()


@pytest.mark.parametrize("state", [*ENDING, *ENDED])
def test_no_frame_is_taken_after_the_end(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    with pytest.raises(WHY.get(state, SequenceError)):
        world.send(1)
    with pytest.raises(WHY.get(state, SequenceError)):
        world.send_live(1)


@pytest.mark.parametrize("state", LIVE)
def test_send_waits_for_room_in_every_state_and_may_be_cancelled(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    while world.session.in_flight < world.session.limits.max_frames_in_flight:
        world.send(1)
    before = world.session.in_flight
    sending = world.start(world.session.send(said(2)))
    world.wait(0.1)
    assert not sending.done()
    sending.cancel()
    world.wait(0.1)
    assert sending.cancelled()
    assert world.session.in_flight == before


@pytest.mark.parametrize("state", [stalled, lost, lost_amid_a_frame, ending_while_moving, ending_while_lost])
def test_receive_waits_no_longer_than_the_patience(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    receiving = world.start(world.session.receive())
    world.wait(POLICY.patience_s / 2)
    assert not receiving.done()
    with pytest.raises(UnavailableError):
        world.result(receiving, PATIENCE_S)


@pytest.mark.parametrize("state", [is_open, moving])
def test_a_worker_that_answers_no_more_is_left_when_the_patience_is_over(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    world.a.answers, world.a.takes = False, "never"
    world.send(0)
    with pytest.raises(UnavailableError):
        world.result(world.session.receive(), PATIENCE_S)


@pytest.mark.parametrize("state", [is_open, moving])
def test_replies_come_while_the_worker_answers(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    world.send(0)
    assert world.result(world.session.receive()).sequence == 0


@pytest.mark.parametrize("state", [is_open, stalled, ending, lost])
def test_a_reply_that_somebody_gave_up_on_goes_to_the_next_one_who_asks(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    if not world.session.in_flight:
        world.send(0)
        world.a.answers = False
    given_up = world.start(world.session.receive())
    loop.run(asyncio.sleep(0))
    given_up.cancel()
    for worker in (world.a, world.b):
        worker.answers, worker.takes = True, "yes"
        worker.pump()
    assert world.result(world.session.receive(), POLICY.longest_s * 2).sequence == 0


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "silent"])
@pytest.mark.parametrize("state", [is_open, moving, lost])
def test_the_end_comes_at_once_when_every_frame_is_answered(loop: VirtualTimeLoop, state: State, closes: bool) -> None:
    world = World(loop)
    world.send(0)
    assert world.result(world.session.receive()).sequence == 0
    state(world)
    world.a.closes = closes
    receiving = world.start(world.session.receive())
    loop.run(asyncio.sleep(0))
    world.result(world.session.end())
    within_s = AT_ONCE_S if closes or state is lost else POLICY.stall_s + AT_ONCE_S
    assert world.result(receiving, within_s) is None
    assert world.session.totals is not None
    assert world.session.totals.frames == 1


@pytest.mark.parametrize("state", ENDING)
def test_the_replies_under_way_come_after_the_end_and_then_none(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    world.result(world.session.end())  # twice does no harm
    for worker in (world.a, world.b):
        worker.answers, worker.takes = True, "yes"
        worker.pump()
    assert world.result(world.session.receive(), POLICY.longest_s * 2).sequence == 0
    assert world.result(world.session.receive(), POLICY.stall_s) is None


@pytest.mark.parametrize("state", ENDED)
def test_after_the_end_every_call_says_how_it_ended(loop: VirtualTimeLoop, state: State) -> None:
    world = World(loop)
    state(world)
    if why := WHY.get(state):
        for work in (world.session.receive(), world.session.end()):
            with pytest.raises(why):
                world.result(work)
    else:
        assert world.result(world.session.receive()) is None
        assert world.result(world.session.end()) is None


@pytest.mark.parametrize("cancels", range(4))
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "deaf"])
@pytest.mark.parametrize("state", [*LIVE, *ENDING, *ENDED])
def test_leaving_gives_everything_back_from_every_state_however_often_it_is_cancelled(
    loop: VirtualTimeLoop, state: State, reads: bool, cancels: int
) -> None:
    world = World(loop)
    state(world)
    world.a.reads = reads
    waiting = world.start(world.session.receive())
    loop.run(asyncio.sleep(0))
    leaving = world.start(world.session.abandon())
    for _ in range(cancels):
        loop.run(asyncio.sleep(0))
        leaving.cancel()
    world.wait(GIVEN_BACK_S)
    assert leaving.done()
    assert leaving.cancelled() is bool(cancels)
    assert waiting.done()
    assert waiting.exception() is None or isinstance(waiting.exception(), AntiphonError)
    world.check_given_back()
    if reads:
        assert all(call.said_close for call in world.network.calls if state in (is_open, moving, ending))


def test_leaving_before_anything_has_run_says_close(loop: VirtualTimeLoop) -> None:
    network = FakeNetwork("a:1")

    async def left_at_once() -> None:
        session = await Session.open(["a:1"], Opening(CODEC, seed=0), POLICY, lambda change: None, network.dial)
        await session.abandon()

    loop.run(left_at_once())
    assert [call.said_close for call in network.calls] == [True]
    assert not network.held
    assert not loop.tasks


def test_leaving_amid_dialling_gives_back_the_call_that_comes_too_late(loop: VirtualTimeLoop) -> None:
    world = World(loop)
    moving(world)
    world.b.takes = "yes"
    while len(world.network.calls) < 2:
        world.wait(0.001)
    world.result(world.session.abandon(), GIVEN_BACK_S)
    world.check_given_back()


def test_without_reconnection_a_silent_worker_ends_the_session(loop: VirtualTimeLoop) -> None:
    world = World(loop, NEVER)
    world.a.answers = False
    world.send(0)
    with pytest.raises(UnavailableError, match="has not answered for"):
        world.result(world.session.receive(), NEVER.stall_s + AT_ONCE_S)


def test_a_worker_that_closes_what_nobody_ended_is_left_for_another(loop: VirtualTimeLoop) -> None:
    world = World(loop)
    world.a.takes, world.b.takes = "no", "yes"
    for call in world.a.calls:
        call.said_close = True
    world.send(0)
    assert world.result(world.session.receive()).sequence == 0
    world.wait(AT_ONCE_S)
    assert world.session.address == "b:1"
    world.send(1)
    assert world.result(world.session.receive()).sequence == 1


# Coming back, and how often.


def rate(worker: FakeWorker, begin_s: float, end_s: float) -> float:
    return sum(begin_s <= at < end_s for at in worker.dialled_s) / (end_s - begin_s)


@pytest.mark.parametrize("brings", [UnavailableError("the worker ends each call"), "goes"], ids=["ends", "goes"])
def test_a_worker_that_takes_the_session_and_drops_it_is_asked_ever_less_and_not_for_ever(
    loop: VirtualTimeLoop, brings: Any
) -> None:
    world = World(loop)
    began_s = loop.time()
    for worker in (world.a, world.b):
        worker.brings, worker.answers, worker.takes = brings, False, "yes"
    world.send(0)
    if brings == "goes":
        world.a.go_away()
    else:
        world.a.lose()
    with pytest.raises(UnavailableError):
        world.result(world.session.receive(), PATIENCE_S)
    dialled = sum(len(worker.dialled_s) for worker in (world.a, world.b)) - 1
    assert 5 < dialled < 40
    assert rate(world.a, began_s + 10, began_s + 20) < 2 / (POLICY.longest_s / 2)


def test_the_patience_is_whole_again_after_a_new_reply(loop: VirtualTimeLoop) -> None:
    world = World(loop)
    for number in range(5):  # together far longer than the patience
        world.send(number)
        assert world.result(world.session.receive()).sequence == number
        world.a.takes = "no"
        world.a.lose()
        world.wait(POLICY.patience_s * 0.6)
        world.a.takes = "yes"
        world.wait(POLICY.longest_s * 4)  # both addresses, and the jitter
    assert world.session.resumptions == 5


def test_a_session_in_which_nobody_spoke_for_longer_than_the_patience_goes_on_elsewhere(loop: VirtualTimeLoop) -> None:
    world = World(loop)
    world.wait(POLICY.patience_s * 3)
    world.b.takes = "yes"
    world.a.go_away()
    world.wait(AT_ONCE_S)
    assert world.session.address == "b:1"


@pytest.mark.parametrize("speaking", [False, True], ids=["silent", "speaking"])
def test_of_two_who_hold_one_session_one_is_told_so_and_the_other_keeps_it(
    loop: VirtualTimeLoop, caplog: pytest.LogCaptureFixture, speaking: bool
) -> None:
    first = World(loop)
    first.a.one_owner = True
    worlds, heard = [first, World(loop, network=first.network)], []
    for number in range(100):
        for world in worlds:
            with suppress(PreconditionError):
                if speaking and world.session.in_flight < 4:
                    world.send(number)
                    heard.append(world.start(world.session.receive()))
            world.wait(0.05)
    failures = [world.session._carrier.journal.failure for world in worlds]
    assert [type(failure) for failure in failures].count(PreconditionError) == 1
    assert failures.count(None) == 1
    assert [record.name for record in caplog.records] == ["antiphon_edge.client.carrier"]
    assert "two clients hold one session" in caplog.text
    assert len(first.a.dialled_s) <= 6
    kept = worlds[failures.index(None)]
    assert len(first.network.held) == 1
    for world in worlds:
        world.result(world.session.abandon(), GIVEN_BACK_S)
    assert all(each.done() and (each.exception() or each.result()) for each in heard)
    kept.check_given_back()


# Any order of calls and faults.


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
