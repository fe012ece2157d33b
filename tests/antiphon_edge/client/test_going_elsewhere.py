"""Where a lost session goes, for how long it is tried, and which workers do not do."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from antiphon.errors import (
    NoFreeSlotError,
    PreconditionError,
    UnavailableError,
)
from antiphon.spec import Sampling
from antiphon_cloud.errors import DeviceLostError
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Change, Reconnecting
from antiphon_edge.client.reconnect import LIVE, NEVER, Reconnect
from tests.support.conversations import LONG_S, QUICK, SEED, check_unbroken, exchange, said, two_workers, until_refused
from tests.support.ports import unused_address
from tests.support.servers import CODEC, stub_server
from tests.support.time_travel import Clock, until
from tools.harness.relay import relay
from tools.harness.stub_runner import SPEC

OTHER_MODEL = r"held with stub \(05050505\), this worker serves stub \(abababab\); start a new session"


async def test_a_full_worker_says_when_to_come_back_and_is_asked_again() -> None:
    changes: asyncio.Queue[Change] = asyncio.Queue()
    async with two_workers(slots=1) as (first, second), relay(first.address) as between:
        other = connect(second.address, CODEC)
        await other.__aenter__()
        async with connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.put_nowait) as session:
            replies = await exchange(session, 3)
            between.target = second.address
            between.cut()
            await session.send(said(3))
            refusal = await until_refused(changes)
            between.target = first.address
            reply = await asyncio.wait_for(session.receive(), LONG_S)
            assert reply is not None
            replies.append(reply)
        await other.__aexit__(None, None, None)
    check_unbroken(replies)
    assert "slots are taken" in refusal.reason


async def test_the_sampling_that_a_model_chose_goes_along_to_a_worker_with_another() -> None:
    async with two_workers() as (first, second), relay(first.address) as between:
        second.runner.spec = replace(SPEC, sampling=Sampling(0.1, 3, 0.2, 4))
        async with connect(between.address, CODEC, seed=SEED, reconnect=QUICK) as session:
            await exchange(session, 2)
            between.target = second.address
            between.cut()
            await exchange(session, 2)
        assert second.runner.sampling == SPEC.sampling


async def test_both_workers_logs_have_the_conversation_by_one_name_with_what_became_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    conversation = ""

    def events(sentence: str) -> list[dict[str, object]]:
        told = [getattr(each, "antiphon_fields", {}) for each in caplog.records if each.getMessage() == sentence]
        return [fields for fields in told if fields["conversation"] == conversation]

    async with two_workers() as (first, second), relay(first.address) as between:
        async with connect(between.address, CODEC, seed=SEED, reconnect=QUICK) as session:
            await exchange(session, 2)
            between.target = second.address
            between.cut()
            await exchange(session, 3)
            conversation = session.conversation
        await until(lambda: events("session ended"), "the end of the session")
    (opened,), (rebuilt,) = events("session opened"), events("session is rebuilt")
    assert (opened["step"], rebuilt["step"]) == (0, 2)
    assert opened["session"] != rebuilt["session"]
    ended = {fields["session"]: fields for fields in events("session ended")}
    assert ended[rebuilt["session"]]["status"] == "OK"
    assert ended[rebuilt["session"]]["frames"] == 3


async def test_patience_ends_and_the_last_error_is_told(clock: Clock) -> None:
    changes: asyncio.Queue[Change] = asyncio.Queue()
    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.put_nowait) as session,
    ):
        await exchange(session, 2)
        between.target = unused_address()
        between.cut()
        await session.send(said(2))
        await until_refused(changes)
        assert session._carrier.journal.failure is None
        clock.advance(QUICK.patience_s)
        with pytest.raises(UnavailableError):
            await session.receive()


async def test_a_final_refusal_is_not_asked_for_again() -> None:
    changes: list[Change] = []
    async with two_workers() as (first, second), relay(first.address) as between:
        second.runner.spec = replace(SPEC, fingerprint=b"\xab" * 32)
        async with connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.append) as session:
            await exchange(session, 2)
            between.target = second.address
            between.cut()
            with pytest.raises(PreconditionError, match=OTHER_MODEL):
                await exchange(session, 1)
        assert not any(change.again_in_s for change in changes if isinstance(change, Reconnecting))


async def test_workers_that_serve_another_model_under_the_same_name_do_not_go_on_with_a_session(clock: Clock) -> None:
    for where_the_first_was in ("another", "nobody"):
        changes: asyncio.Queue[Change] = asyncio.Queue()
        async with two_workers() as (first, second), relay(first.address) as between:
            second.runner.spec = replace(SPEC, fingerprint=b"\xab" * 32)
            addresses = [between.address, second.address]
            context = connect(addresses, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.put_nowait)
            async with context as session:
                await exchange(session, 2)
                between.target = second.address if where_the_first_was == "another" else unused_address()
                between.cut()
                await session.send(said(2))
                if where_the_first_was == "nobody":  # it may come back, until the patience is over
                    for _ in addresses:  # until both have been asked
                        await until_refused(changes)
                    clock.advance(QUICK.patience_s)
                with pytest.raises(PreconditionError, match=OTHER_MODEL):
                    await session.receive()
            assert not second.runner.batches


async def test_an_address_that_serves_another_model_is_passed_over() -> None:
    async with stub_server() as third, two_workers() as (first, second), relay(first.address) as between:
        second.runner.spec = replace(SPEC, fingerprint=b"\xab" * 32)
        addresses = [between.address, second.address, third.address]
        async with connect(addresses, CODEC, seed=SEED, reconnect=QUICK) as session:
            replies = await exchange(session, 5)
            between.target = unused_address()
            between.cut()
            replies += await exchange(session, 5)
            assert session.address == third.address
        assert not second.runner.batches
    check_unbroken(replies)


async def test_who_wants_no_reconnection_gets_the_first_error() -> None:
    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, reconnect=NEVER) as session,
    ):
        await exchange(session, 1)
        between.cut()
        with pytest.raises(UnavailableError):
            await exchange(session, 1)


@pytest.mark.parametrize("attempt", range(12))
def test_waits_grow_with_jitter_up_to_a_ceiling(attempt: int) -> None:
    policy = Reconnect(first_s=0.1, longest_s=5.0)
    delay_s = policy.delay_s(attempt, UnavailableError("gone"))
    assert 0.5 * min(0.1 * 2**attempt, 5.0) <= delay_s <= 1.5 * min(0.1 * 2**attempt, 5.0)
    assert policy.delay_s(-1, UnavailableError("gone")) == 0
    assert policy.delay_s(attempt, NoFreeSlotError("full", retry_after_s=8.0)) >= 4.0


@pytest.mark.parametrize("attempt", range(12))
def test_where_a_person_waits_no_wait_is_longer_than_2_s(attempt: int) -> None:
    for error in (UnavailableError("gone"), NoFreeSlotError("full", retry_after_s=60.0)):
        assert 0 < LIVE.delay_s(attempt, error) <= 2.0


async def test_a_session_goes_on_elsewhere_where_its_workers_card_fails() -> None:
    ready: list[str | None] = []
    async with two_workers() as (first, second):
        first.runner.fail_on_code, first.runner.fault = int(said(5).max()), DeviceLostError

        def note(change: Change) -> None:
            ready.append(first.server.worker.not_ready())

        addresses = [first.address, second.address]
        async with connect(addresses, CODEC, seed=SEED, reconnect=QUICK, on_change=note) as session:
            replies = await exchange(session, 9)
            assert session.address == second.address
            assert session.resumptions == 1
    check_unbroken(replies)
    assert ready[0] == "the stub was told to fail"  # before the session was sent away
