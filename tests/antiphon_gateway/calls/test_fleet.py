"""Workers behind the doors: which one a call begins at, and what happens when they serve another model."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.errors import UnavailableError
from antiphon_edge import Codec
from antiphon_gateway.calls.fleet import Fleet, Wanted
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.server.process import Server
from tests.support.commands import worker
from tests.support.gateways import gateway
from tests.support.ports import unused_address
from tools.harness.worker_process import Worker


async def test_calls_begin_at_one_worker_after_the_other(clerk: Worker) -> None:
    with worker() as second:
        fleet = await Fleet.find([clerk.address, second.address])
        async with fleet.session(Wanted()) as one, fleet.session(Wanted()) as other:
            assert [one.address, other.address] == [clerk.address, second.address]


async def test_a_worker_that_is_gone_is_passed_over(clerk: Worker) -> None:
    fleet = await Fleet.find([unused_address(), clerk.address])
    async with fleet.session(Wanted()) as one, fleet.session(Wanted()) as other:
        assert one.address == other.address == clerk.address
    with pytest.raises(UnavailableError):
        await Fleet.find([unused_address()])


async def test_workers_that_serve_another_model_since_are_asked_again(clerk: Worker, tiny_codec: Path) -> None:
    fleet = await Fleet.find([clerk.address])
    right, fleet.codec = fleet.spec, Codec.load(tiny_codec)
    async with fleet.session(Wanted()) as session:
        assert session.model.name == "number-clerk"
    assert fleet.spec == right


async def test_a_voice_and_a_persona_are_only_asked_of_a_model_that_takes_them(clerk: Worker) -> None:
    fleet = await Fleet.find([clerk.address])
    assert fleet.fitting(Wanted(voice="NATF2", persona="Be kind.", seed=3)) == Wanted(seed=3)


async def test_a_model_that_only_listens_is_not_taken_for_one_that_answers(golden: Path, tiny_codec: Path) -> None:
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec) as listening:
        async with gateway([listening.address]) as server:
            assert kinds(server) == (False, True, False)
            with pytest.raises(UnavailableError, match="no worker for a dialogue"):
                server.gateway.need(server.gateway.dialogue, "a dialogue")


def kinds(server: Server) -> tuple[bool, bool, bool]:
    """Which workers there are."""
    found: Gateway = server.gateway
    return found.dialogue is not None, found.transcription is not None, found.speech is not None
