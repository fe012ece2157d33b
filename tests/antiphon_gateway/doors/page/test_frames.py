"""`/v1/frames`: the contract's messages pass through, whoever sends them and however it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.v1 import dialogue_pb2 as pb
from antiphon_gateway.access.admission import Limits
from antiphon_gateway.doors.page import frames as door
from antiphon_gateway.server.process import Server
from tests.support.frames_client import CODES, frames
from tests.support.gateways import gateway
from tests.support.ports import unused_address
from tests.support.servers import StubOptions, StubServer, codec_files, stub_server
from tests.support.time_travel import Clock, until
from tools.harness.stub_runner import StubRunner


@pytest.fixture
def options(tiny_codec: Path) -> StubOptions:
    return StubOptions(runner=StubRunner(slots=2), codec_files=codec_files(tiny_codec), history_steps=64)


@pytest.fixture
async def worker(options: StubOptions) -> AsyncIterator[StubServer]:
    async with stub_server(options) as running:
        yield running


@pytest.fixture
async def served(worker: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path))
    async with gateway([worker.address]) as server:
        yield server


async def test_each_frame_is_answered(served: Server) -> None:
    async with frames(served.address) as edge:
        assert (await edge.open(seed=7)).session_id
        replies = [await edge.step() for _ in range(4)]
        assert [bool(reply.codes) for reply in replies] == [False, True, True, True]
        await edge.send(pb.ConverseRequest(close=pb.Close()))
        assert (await edge.receive()).closed.frames == 4


async def test_a_connection_that_is_cut_leaves_the_session_to_be_taken_up(served: Server, worker: StubServer) -> None:
    async with frames(served.address) as edge:
        opened = await edge.open(seed=7)
        for _ in range(3):
            reply = await edge.step()
    rows = pb.History(steps=3, rows=_rows(reply, 3), model_fingerprint=opened.model.fingerprint)
    async with frames(served.address) as edge:
        again = await edge.open(seed=7, history=rows, resume_token=opened.resume_token)
        assert (again.step_offset, again.rebuilt_steps) == (3, 0)
        assert (await edge.step()).codes


async def test_a_call_that_has_lasted_as_long_as_one_may_ends_with_a_final_status(served: Server, clock: Clock) -> None:
    served.gateway.access.limits = Limits(longest_s=12.0)
    async with frames(served.address) as edge:
        await edge.open(seed=7)
        await edge.step()
        await clock.outlast(12.0)
        status, message, _ = await edge.status()
    assert status == "FAILED_PRECONDITION"
    assert message == "this call has lasted 12 s, as long as one may here: call again"


async def test_a_worker_that_is_gone_is_passed_over(worker: StubServer, tmp_path: Path) -> None:
    addresses = [worker.address, unused_address()]
    async with gateway(addresses) as server:
        for seed in (0, 1):
            async with frames(server.address) as edge:
                assert (await edge.open(seed=seed)).session_id


async def test_a_session_comes_back_to_the_worker_that_it_was_at(
    options: StubOptions, worker: StubServer, tiny_codec: Path
) -> None:
    other = StubOptions(runner=StubRunner(slots=2), codec_files=codec_files(tiny_codec))
    async with stub_server(other) as second, gateway([worker.address, second.address]) as server:
        for seed in (0, 1, 2, 3):
            async with frames(server.address) as edge:
                await edge.open(seed=seed)
                await edge.step()
        assert [len(each.runner.batches) for each in (worker, second)] == [2, 2]


async def test_a_full_worker_says_when_to_come_again(served: Server) -> None:
    async with frames(served.address) as first, frames(served.address) as second, frames(served.address) as third:
        await first.open()
        await second.open()
        await third.send(pb.ConverseRequest(open=pb.Open(codec_fingerprint=b"\x07" * 32)))
        status, _, retry_after_s = await third.status()
    assert status == "RESOURCE_EXHAUSTED"
    assert retry_after_s > 0


async def test_a_gateway_that_is_full_says_so(worker: StubServer) -> None:
    async with (
        gateway([worker.address], calls=1) as server,
        frames(server.address) as first,
        frames(server.address) as second,
    ):
        await first.open()
        assert (await second.status())[0] == "RESOURCE_EXHAUSTED"


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "text": ("what?", "a text message: send the messages of the contract as binary ones"),
    "no message": (b"\xff\xff", "2 bytes that are no ConverseRequest"),
    "a frame before Open": (pb.ConverseRequest(codes=CODES).SerializeToString(), "the first message must be Open"),
    "another codec": (pb.ConverseRequest(open=pb.Open(codec_fingerprint=b"?")).SerializeToString(), "codec"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_breaks_the_contract_is_refused_in_a_sentence(case: str, served: Server) -> None:
    message, words = REFUSED[case]
    async with frames(served.address) as edge:
        await (edge.socket.send_str(message) if isinstance(message, str) else edge.socket.send_bytes(message))
        _, said, _ = await edge.status()
    assert words in said


async def test_a_message_that_is_too_large_ends_the_connection_and_no_other(served: Server) -> None:
    async with frames(served.address) as other, frames(served.address) as edge:
        await other.open()
        await edge.socket.send_bytes(bytes(door.MESSAGE_BYTES + 1))
        assert (await edge.socket.receive()).data == 1009
        assert (await other.step()) is not None


async def test_a_client_that_says_nothing_is_sent_away(served: Server, clock: Clock) -> None:
    async with frames(served.address) as edge:
        await clock.outlast(door.OPEN_S)
        assert (await edge.status())[:2] == ("DEADLINE_EXCEEDED", "no Open within 10 s: send it first")


async def test_a_page_that_is_closed_leaves_nothing_behind(served: Server) -> None:
    for _ in range(20):
        async with frames(served.address) as edge:
            await edge.open(seed=7)
            await edge.step()
            await edge.send(pb.ConverseRequest(close=pb.Close()))
            await edge.receive()
    await until(lambda: served.gateway.capacity.held == 0, "the last call's end")
    assert not served.gateway.sockets


def _rows(reply: pb.ConverseResponse, steps: int) -> bytes:
    """A history that only its length matters of."""
    return bytes(steps * (len(CODES) + 1 + len(reply.codes)))
