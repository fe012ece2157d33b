"""What people notice of a fleet that breaks: nothing but a pause. The short form of tools/load/chaos.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from antiphon_edge import Reconnect, Session, connect
from tests.support.servers import stub_server
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


async def talk_through(seconds: float, mend: bool) -> Session:
    """A session at frame rate whose network fails for `seconds`, and then delivers what it held or has reset all."""
    random = np.random.default_rng(4)
    codes = random.integers(0, 2048, (12, 8), np.int32)
    impatient = Reconnect(stall_s=0.5, connect_timeout_s=0.5)
    async with (
        stub_server() as server,
        relay(server.address) as network,
        connect(network.address, CODEC, seed=7, reconnect=impatient) as session,
    ):
        for step, row in enumerate(codes):
            if step == 6:
                network.stall()
                if not mend:
                    network.cut()
                asyncio.get_running_loop().call_later(seconds, network.resume)
            await session.send(row)
            reply = await asyncio.wait_for(session.receive(), seconds + MOST_LATE_S)
            assert reply is not None
            assert reply.sequence == step
            assert reply.codes is None or (reply.codes == expected(row, 7, step)).all()
        return session


async def test_a_network_that_is_away_for_a_second_costs_no_frame() -> None:
    await talk_through(1.0, mend=True)


async def test_a_network_that_resets_everything_and_stays_away_for_five_seconds_costs_no_frame() -> None:
    session = await talk_through(5.0, mend=False)
    assert session.resumptions >= 1


async def test_a_connection_that_goes_dead_without_a_word_is_left() -> None:
    impatient = Reconnect(stall_s=0.3)
    codes = np.arange(8, dtype=np.int32)
    async with (
        stub_server() as server,
        relay(server.address) as network,
        connect(network.address, CODEC, seed=7, reconnect=impatient) as session,
    ):
        for step in range(6):
            if step == 3:
                network.half_open()
            await session.send(codes)
            reply = await asyncio.wait_for(session.receive(), MOST_LATE_S)
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


async def break_at_random(network: Relay, workers: list[str], random: np.random.Generator) -> None:
    """Resets, moves, stalls, refuses and deadens connections, one after another, until it is cancelled."""
    while True:
        await asyncio.sleep(random.uniform(0, 0.15))
        network.target = str(random.choice(workers))
        match random.integers(4):
            case 0:
                network.cut()
            case 1:
                network.half_open()
            case 2:
                network.stall()
                await asyncio.sleep(random.uniform(0, 0.4))
                network.resume()
            case 3:
                network.refusing = True
                network.cut()
                await asyncio.sleep(random.uniform(0, 0.1))
                network.refusing = False


@pytest.mark.parametrize("seed", range(3))
async def test_a_conversation_survives_whatever_its_network_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2048, (80, 8), np.int32)
    hasty = Reconnect(first_s=0.01, longest_s=0.1, stall_s=0.3, connect_timeout_s=0.5)
    async with (
        stub_server() as first,
        stub_server() as second,
        relay(first.address) as network,
        connect(network.address, CODEC, seed=7, reconnect=hasty) as session,
    ):
        breaking = asyncio.create_task(break_at_random(network, [first.address, second.address], random))

        async def send() -> None:
            for row in codes:
                await session.send(row)
                await asyncio.sleep(0.005)
            await session.end()

        sending = asyncio.create_task(send())
        heard = [reply async for reply in session]
        await sending
        assert not breaking.done()
        breaking.cancel()
    assert [reply.sequence for reply in heard] == list(range(len(codes)))
    for step, reply in enumerate(heard):
        assert reply.codes is None or (reply.codes == expected(codes[step], 7, step)).all()
    assert session.resumptions
