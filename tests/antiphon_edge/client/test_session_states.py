"""Every state of a session × every call of its owner, on a clock of the test's own: nothing waits without a bound."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.errors import AntiphonError, SequenceError, UnavailableError
from antiphon_edge.client.carrier import Carrier
from antiphon_edge.client.reconnect import NEVER
from antiphon_edge.client.session import Session
from antiphon_edge.transport.handshake import Opening
from tests.support.fake_workers import FakeNetwork
from tests.support.servers import CODEC
from tests.support.session_worlds import (
    AT_ONCE_S,
    ENDED,
    ENDING,
    GIVEN_BACK_S,
    LIVE,
    PATIENCE_S,
    POLICY,
    WHY,
    State,
    World,
    ending,
    ending_while_lost,
    ending_while_moving,
    is_open,
    lost,
    lost_amid_a_frame,
    moving,
    said,
    stalled,
)
from tests.support.virtual_time import VirtualTimeLoop
from tools.harness.stub_runner import expected


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
        session = Session(
            await Carrier.open(["a:1"], Opening(CODEC, seed=0), POLICY, lambda change: None, network.dial)
        )
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
