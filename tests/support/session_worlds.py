"""A session on fake workers and a clock of the test's own, and how it comes into each of its states."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, PreconditionError, SequenceError
from antiphon_edge.client.carrier import Carrier
from antiphon_edge.client.events import Change, Reconnecting
from antiphon_edge.client.reconnect import Reconnect
from antiphon_edge.client.session import Session
from antiphon_edge.transport.handshake import Opening
from antiphon_edge.transport.messages import LEAVE_S
from tests.support.fake_workers import FakeNetwork
from tests.support.servers import CODEC
from tests.support.virtual_time import VirtualTimeLoop

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
            return Session(await Carrier.open(addresses, opening, self.policy, self.changes.append, self.network.dial))

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
