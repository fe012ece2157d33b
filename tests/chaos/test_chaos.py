"""What people notice of a fleet that breaks: nothing but a pause. The short form of tools/load/chaos.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest

from antiphon_cloud.sessions import session as session_limits
from antiphon_edge import Reconnect, Reply, Session, connect
from antiphon_edge.client.events import Change, Reconnecting
from antiphon_edge.transport import channel as connection
from tests.support.conversations import QUICK, SEED, check_unbroken, exchange
from tests.support.servers import stub_server
from tests.support.time_travel import LOOK_S, NET_S, Clock, until
from tools.harness import worker_process
from tools.harness.relay import Relay, relay
from tools.harness.stub_runner import expected
from tools.harness.stub_worker import CODEC
from tools.load import chaos
from tools.load.client import Outcome

MOST_LATE_S = 15.0  # on the busiest machine; tools/load/chaos.py measures what it is


def check(outcomes: list[Outcome]) -> None:
    """Every frame of every session was answered once, in order, by its own reply."""
    for outcome in outcomes:
        assert outcome.error is None
        assert outcome.checked
        assert (outcome.lost, outcome.repeated, outcome.reordered, outcome.foreign) == (0, 0, 0, 0)


def test_a_killed_worker_costs_no_token_of_the_conversation(golden: Path, tiny_codec: Path) -> None:
    (trial,) = chaos.kill_trials(golden / "moshi-tiny", tiny_codec, trials=1, frames=90)
    assert (trial.lost, trial.equal) == (0, True)
    assert trial.silent_s < MOST_LATE_S


def test_every_worker_can_be_restarted_under_load() -> None:
    outcomes = chaos.rolling_restart(sessions=6, seconds=12, between_s=0.2)
    check(outcomes)
    assert sum(len(outcome.resumed) for outcome in outcomes) >= 6


def test_a_frozen_worker_loses_no_frame() -> None:
    check(chaos.freeze(sessions=3, seconds=8))


def test_a_crowd_that_comes_back_at_once_is_served_evenly() -> None:
    returned = chaos.crowd(clients=30)
    assert (returned.served, returned.refused) == (30, {})
    assert returned.imbalance <= 2
    assert returned.slowest_s < MOST_LATE_S


async def test_a_card_that_fails_costs_no_frame_and_ends_its_worker_for_a_supervisor_to_start_again() -> None:
    with (
        TemporaryFile("w+") as said_by_it,
        worker_process.worker(program=DOOMED, stderr=said_by_it) as doomed,
        worker_process.worker(program=worker_process.STUB) as other,
    ):
        addresses = [doomed.address, other.address]
        async with connect(addresses, CODEC, seed=SEED, reconnect=QUICK) as session:
            replies = await exchange(session, 9)
            assert session.address == other.address
        check_unbroken(replies)
        assert await asyncio.to_thread(doomed.process.wait, NET_S) == 1
        said_by_it.seek(0)
        *log, last = said_by_it.read().splitlines()
    assert last == "antiphon-cloud: the stub was told to fail: start the worker again"
    assert [line.partition(": ")[2] for line in log] == ["the stub was told to fail"]


DOOMED = (sys.executable, "-m", "tests.support.doomed_worker")
POLICY = Reconnect(first_s=0.01, longest_s=0.1, patience_s=36_000.0, stall_s=60.0, connect_timeout_s=80.0)


@pytest.fixture
def nobody_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks through a network that is away hears nothing however long he waits."""
    monkeypatch.setattr(connection, "REASON_TIMEOUT_S", 0.1)


async def stalled(session: Session) -> None:
    """Returns once a frame is on its way and not answered."""
    await until(lambda: session._carrier.stream.stalled_s() > 0, "a frame without an answer")


async def outage(network: Relay, session: Session, clock: Clock, attempts: int) -> None:
    """The stalled network stays away until so many attempts have been in vain, and then delivers what it held."""
    if not session._carrier.stream.ended.done():
        await stalled(session)
        clock.advance(POLICY.stall_s)
    for _ in range(attempts):
        await clock.outlast(POLICY.connect_timeout_s)
    network.resume()


async def talk_through(clock: Clock, attempts: int, mend: bool) -> Session:
    """A session whose network fails for so many attempts, and then delivers what it held or has reset all."""
    random = np.random.default_rng(4)
    codes = random.integers(0, 2048, (12, 8), np.int32)
    async with (
        stub_server() as server,
        relay(server.address) as network,
        connect(network.address, CODEC, seed=7, reconnect=POLICY) as session,
    ):
        for step, row in enumerate(codes):
            if step == 6:
                network.stall()
                if not mend:
                    network.cut()
                    await until(session._carrier.stream.ended.done)
            await session.send(row)
            if step == 6:
                await outage(network, session, clock, attempts)
            reply = await asyncio.wait_for(session.receive(), NET_S)
            assert reply is not None
            assert reply.sequence == step
            assert reply.codes is None or (reply.codes == expected(row, 7, step)).all()
        return session


@pytest.mark.usefixtures("nobody_says_why")
async def test_a_network_that_is_away_for_a_while_costs_no_frame(clock: Clock) -> None:
    await talk_through(clock, attempts=1, mend=True)


@pytest.mark.usefixtures("nobody_says_why")
async def test_a_network_that_resets_everything_and_stays_away_for_long_costs_no_frame(clock: Clock) -> None:
    session = await talk_through(clock, attempts=8, mend=False)
    assert session.resumptions >= 1


async def test_a_connection_that_goes_dead_without_a_word_is_left(clock: Clock) -> None:
    codes = np.arange(8, dtype=np.int32)
    async with (
        stub_server() as server,
        relay(server.address) as network,
        connect(network.address, CODEC, seed=7, reconnect=POLICY) as session,
    ):
        for step in range(6):
            if step == 3:
                network.half_open()
            await session.send(codes)
            if step == 3:
                await stalled(session)
                clock.advance(POLICY.stall_s)
            reply = await asyncio.wait_for(session.receive(), NET_S)
            assert reply is not None
            assert reply.codes is None or (reply.codes == expected(codes, 7, step)).all()
        assert session.resumptions == 1


async def test_a_slow_and_jittery_network_keeps_every_frame_in_order() -> None:
    codes = np.random.default_rng(4).integers(0, 2048, (30, 8), np.int32)
    async with stub_server() as server, relay(server.address, seed=2) as network:
        network.up.delay_s = network.down.delay_s = 0.02
        network.up.jitter_s = network.down.jitter_s = 0.03
        network.down.drip_bytes, network.down.drip_s = 16, 0.001
        async with connect(network.address, CODEC, seed=7) as session:
            sending = asyncio.gather(*(session.send(row) for row in codes[:8]))
            for step in range(8):
                reply = await asyncio.wait_for(session.receive(), MOST_LATE_S)
                assert reply is not None
                assert reply.codes is None or (reply.codes == expected(codes[step], 7, step)).all()
            await sending


class Faults:
    """What a network does to a session. Frames are sent within a fault, mended once the session has noticed."""

    def __init__(self, network: Relay, session: Session, changes: asyncio.Queue[Change], clock: Clock) -> None:
        self._network, self._session, self._changes, self._clock = network, session, changes, clock

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Every connection is reset."""
        self._network.cut()
        yield

    @asynccontextmanager
    async def half_open(self) -> AsyncIterator[None]:
        """Every connection goes dead without a word."""
        self._network.half_open()
        yield
        await self._lose_patience()

    @asynccontextmanager
    async def stall(self) -> AsyncIterator[None]:
        """Nothing passes for a moment."""
        self._network.stall()
        yield
        await stalled(self._session)
        self._network.resume()

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Nothing passes until an attempt has been in vain."""
        self._network.stall()
        yield
        await self._lose_patience()
        await self._clock.outlast(POLICY.connect_timeout_s)
        self._network.resume()

    @asynccontextmanager
    async def refuse(self) -> AsyncIterator[None]:
        """Every connection is reset, and so are the next ones."""
        self._network.refusing = True
        self._network.cut()
        yield
        await until(lambda: any(change.again_in_s for change in self._looked_elsewhere()))
        self._network.refusing = False

    async def _lose_patience(self) -> None:
        """Lets the time pass that a session waits for an answer. One that is still under way begins it anew."""
        while not (self._looked_elsewhere() or self._session._carrier.journal.all_answered):
            self._clock.advance(POLICY.stall_s)
            await asyncio.sleep(LOOK_S)

    def _looked_elsewhere(self) -> list[Reconnecting]:
        """What was said since the last look."""
        news = [self._changes.get_nowait() for _ in range(self._changes.qsize())]
        return [change for change in news if isinstance(change, Reconnecting)]


Fault = Callable[[Faults], AbstractAsyncContextManager[None]]
FAULTS: list[Fault] = [Faults.cut, Faults.half_open, Faults.stall, Faults.outage, Faults.refuse]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("nobody_says_why")
async def test_a_conversation_survives_whatever_its_network_does(
    seed: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("TAKEN_AGAIN_S", "MINUTE_S"):  # minutes pass for the edge, of which the worker's clock knows nothing
        monkeypatch.setattr(session_limits, limit, 0.0)
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2048, (80, 8), np.int32)
    changes: asyncio.Queue[Change] = asyncio.Queue()
    heard: list[Reply] = []
    async with (
        stub_server() as first,
        stub_server() as second,
        relay(first.address) as network,
        connect(network.address, CODEC, seed=7, reconnect=POLICY, on_change=changes.put_nowait) as session,
    ):
        faults = Faults(network, session, changes, clock)

        async def hear_all() -> None:
            while session.in_flight:
                reply = await asyncio.wait_for(session.receive(), NET_S)
                assert reply is not None
                heard.append(reply)

        for begin in range(0, len(codes), 4):
            before = int(random.integers(0, 4))  # frames that are under way as it breaks
            for row in codes[begin : begin + before]:
                await session.send(row)
            network.target = str(random.choice([first.address, second.address]))
            while not changes.empty():
                changes.get_nowait()
            async with FAULTS[random.integers(len(FAULTS))](faults):
                for row in codes[begin + before : begin + 4]:
                    await session.send(row)
            await hear_all()
        await session.end()
        assert await asyncio.wait_for(session.receive(), NET_S) is None
    assert [reply.sequence for reply in heard] == list(range(len(codes)))
    for step, reply in enumerate(heard):
        assert reply.codes is None or (reply.codes == expected(codes[step], 7, step)).all()
    assert session.resumptions
