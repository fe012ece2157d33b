"""How often a session asks workers that do not keep it, and for how long, on a clock of the test's own."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from antiphon.errors import PreconditionError, UnavailableError
from antiphon_edge.client import carrier
from tests.support.fake_workers import FakeWorker
from tests.support.session_worlds import (
    AT_ONCE_S,
    GIVEN_BACK_S,
    PATIENCE_S,
    POLICY,
    World,
)
from tests.support.virtual_time import VirtualTimeLoop


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
    assert [record.name for record in caplog.records] == [carrier.logger.name]
    assert "two clients hold one session" in caplog.text
    assert len(first.a.dialled_s) <= 6
    kept = worlds[failures.index(None)]
    assert len(first.network.held) == 1
    for world in worlds:
        world.result(world.session.abandon(), GIVEN_BACK_S)
    assert all(each.done() and (each.exception() or each.result()) for each in heard)
    kept.check_given_back()
