"""The service over a real socket: each case of the status table, and what the other sessions see of it (nothing)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from antiphon.spec import Limits, ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.server import call as server_call
from antiphon_cloud.server.interceptor import SERVICE_NAME
from antiphon_cloud.server.process import MAX_MESSAGE_BYTES
from tests.support.calls import (
    CODES,
    OPEN,
    connected,
    converse,
    frame,
    load_of,
    open_session,
    resuming,
    status_of,
    wait_until_free,
)
from tests.support.servers import CODEC, StubOptions, codec_files, stub_server
from tests.support.time_travel import NET_S, Clock, until, until_steady
from tools.harness.stub_runner import SPEC, StubRunner, expected


async def test_a_conversation_from_open_to_closed() -> None:
    async with stub_server() as server:
        opened, *frames, closed = await converse(server.address, OPEN, frame(0), frame(1), frame(2))
    assert ModelSpec.from_message(opened.opened.model) == SPEC
    assert Limits.from_message(opened.opened.limits) == server.limits
    assert [reply.sequence for reply in frames] == [0, 1, 2]
    assert frames[0].codes == b""
    assert (SPEC.model_packer.unpack(frames[2].codes) == expected(CODES, seed=3, step=2)).all()
    assert frames[2].text == "<2>"
    assert closed.closed.frames == 3


BAD_CALLS = {
    "no Open": ([frame(0)], "INVALID_ARGUMENT", "frame: came before Open"),
    "nothing at all": ([], "INVALID_ARGUMENT", "before Open"),
    "an empty request": ([OPEN, pb.ConverseRequest()], "INVALID_ARGUMENT", "codes: expected 11 bytes"),
    "a second Open": ([OPEN, OPEN], "INVALID_ARGUMENT", "open:"),
    "a short frame": ([OPEN, frame(0, b"short")], "INVALID_ARGUMENT", "codes: expected 11 bytes"),
    "a skipped number": ([OPEN, frame(0), frame(2)], "INVALID_ARGUMENT", "sequence: expected 1, got 2"),
    "a repeated number": ([OPEN, frame(0), frame(0)], "INVALID_ARGUMENT", "sequence: expected 1, got 0"),
    "another codec": (
        [pb.ConverseRequest(open=pb.Open(codec_fingerprint=b"\xab" * 32))],
        "FAILED_PRECONDITION",
        "abababababababab, this worker's is 0707070707070707",
    ),
    "no codec": ([pb.ConverseRequest(open=pb.Open())], "FAILED_PRECONDITION", "none"),
    "a mode that the model lacks": (
        [pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, mode=pb.MODE_TRANSCRIPTION))],
        "FAILED_PRECONDITION",
        "open.mode",
    ),
    "a conversation whose name is none": (
        [pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, conversation="a\nforged line"))],
        "INVALID_ARGUMENT",
        "open.conversation: expected 32 hexadecimal digits",
    ),
    "4 MiB in a frame": ([OPEN, frame(0, bytes(4 << 20))], "RESOURCE_EXHAUSTED", str(MAX_MESSAGE_BYTES)),
}


@pytest.mark.parametrize("case", BAD_CALLS)
async def test_a_bad_call_gets_its_status_and_disturbs_nobody(case: str) -> None:
    requests, status, words = BAD_CALLS[case]
    async with stub_server() as server, connected(server.address) as (stub, _):
        neighbour, _ = await open_session(stub)
        await neighbour.write(frame(0))
        await neighbour.read()

        error = await status_of(server.address, *requests)

        assert (error.code().name, words in (error.details() or "")) == (status, True), error.details()
        await neighbour.write(frame(1))
        reply = await neighbour.read()
        assert (SPEC.model_packer.unpack(reply.codes) == expected(CODES, seed=3, step=1)).all()
        neighbour.cancel()


async def test_a_session_goes_on_from_its_history_on_a_worker_that_never_saw_it() -> None:
    async with stub_server() as server:
        opened, *frames, closed = await converse(server.address, resuming(30), frame(30), frame(31))
    assert (opened.opened.step_offset, opened.opened.rebuilt_steps) == (30, 30)
    assert [reply.sequence for reply in frames] == [30, 31]
    for step, reply in zip((30, 31), frames, strict=True):
        assert (SPEC.model_packer.unpack(reply.codes) == expected(CODES, seed=3, step=step)).all()
    assert closed.closed.frames == 32
    assert sum(server.runner.chunks) == 30


async def test_a_worker_that_still_holds_the_slot_rebuilds_nothing_and_answers_lost_frames_once_more() -> None:
    async with stub_server(StubOptions(runner=StubRunner(slots=1))) as server:
        async with connected(server.address) as (stub, _):
            call, told = await open_session(stub)
            token = told.resume_token
            for sequence in range(5):
                await call.write(frame(sequence))
                await call.read()
        steps = len(server.runner.batches)
        opened, *frames, closed = await converse(server.address, resuming(3, token), *map(frame, range(3, 7)))
    assert (opened.opened.step_offset, opened.opened.rebuilt_steps) == (3, 0)
    assert [reply.sequence for reply in frames] == [3, 4, 5, 6]
    for reply in frames:
        assert (SPEC.model_packer.unpack(reply.codes) == expected(CODES, seed=3, step=reply.sequence)).all()
    assert len(server.runner.batches) == steps + 2  # frames 3 and 4 were stepped before
    assert not server.runner.chunks
    assert closed.closed.frames == 7


async def test_a_stream_that_comes_back_takes_its_session_from_the_one_that_hangs() -> None:
    async with stub_server(StubOptions(runner=StubRunner(slots=1))) as server, connected(server.address) as (stub, _):
        hanging, told = await open_session(stub)
        token = told.resume_token
        await hanging.write(frame(0))
        await hanging.read()
        opened, reply, _ = await converse(server.address, resuming(1, token), frame(1))
        assert (opened.opened.rebuilt_steps, reply.sequence) == (0, 1)
        with pytest.raises(grpc.aio.AioRpcError, match="another call") as raised:
            await hanging.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_detached_slot_is_not_a_lost_slot() -> None:
    async with stub_server(StubOptions(runner=StubRunner(slots=1))) as server:
        async with connected(server.address) as (stub, _):
            call, told = await open_session(stub)
            token = told.resume_token
            await call.write(frame(0))
            await call.read()
        await wait_until_free(server)
        assert len(await converse(server.address, OPEN, frame(0))) == 3
        opened, *_ = await converse(server.address, resuming(1, token), frame(1))
    assert opened.opened.rebuilt_steps == 1  # the slot was given away: the history does as well


async def test_a_frame_that_was_sent_before_with_other_codes_is_refused() -> None:
    async with stub_server() as server:
        async with connected(server.address) as (stub, _):
            call, told = await open_session(stub)
            token = told.resume_token
            await call.write(frame(0))
            await call.read()
        other = frame(0, SPEC.user_packer.pack(CODES + 1))
        error = await status_of(server.address, resuming(0, token), other)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "frame 0 was sent before with other codes" in (error.details() or "")


OURS = SPEC.fingerprint
BAD_HISTORIES = {
    "another model's of the same name": (
        pb.History(model="stub", model_fingerprint=b"\xab" * 32),
        "FAILED_PRECONDITION",
        "held with stub (abababab), this worker serves stub (05050505); start a new session",
    ),
    "nobody's": (pb.History(), "FAILED_PRECONDITION", "held with no model (none), this worker serves stub (05050505)"),
    "a piece of a row": (
        pb.History(model_fingerprint=OURS, steps=1, rows=b"x"),
        "INVALID_ARGUMENT",
        "open.history.rows",
    ),
    "more steps than there are": (
        pb.History(model_fingerprint=OURS, steps=2**32 - 1, rows=bytes(24 * 100)),
        "INVALID_ARGUMENT",
        "open.history.steps: 4294967295 is more than any session takes",
    ),
    "none of its rows": (
        pb.History(model_fingerprint=OURS, steps=7),
        "INVALID_ARGUMENT",
        "looks back to 7 steps",
    ),
}


@pytest.mark.parametrize("case", BAD_HISTORIES)
async def test_a_bad_history_is_refused_before_it_takes_a_slot(case: str) -> None:
    message, status, words = BAD_HISTORIES[case]
    request = pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, history=message))
    async with stub_server() as server:
        error = await status_of(server.address, request)
        assert not (await load_of(server)).sessions
    assert (error.code().name, words in (error.details() or "")) == (status, True), error.details()


async def test_a_code_beyond_the_cardinality_is_invalid() -> None:
    spec = replace(SPEC, cardinality=2000)
    async with stub_server(StubOptions(runner=StubRunner(spec=spec))) as server:
        error = await status_of(server.address, OPEN, frame(0, b"\xff" * 11))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "code 2047 of codebook 0" in (error.details() or "")


async def test_bytes_that_are_no_message_are_refused() -> None:
    async with stub_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        call: Any = channel.stream_stream(f"/{SERVICE_NAME}/Converse")()
        await call.write(b"\xff\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call.read(), NET_S)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len(await converse(server.address, OPEN, frame(0))) == 3


async def test_a_full_worker_refuses_at_once_and_says_when_to_come_back() -> None:
    async with stub_server(StubOptions(runner=StubRunner(slots=1))) as server, connected(server.address) as (stub, _):
        first, _ = await open_session(stub)

        error = await status_of(server.address, OPEN)

        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        rich = rpc_status.from_call(error)
        info = error_details_pb2.RetryInfo()
        assert rich is not None
        assert rich.details[0].Unpack(info)
        assert info.retry_delay.ToTimedelta().total_seconds() > 0
        first.cancel()


@pytest.mark.parametrize(("lone_ms", "slow"), [(4001.0, True), (40.0, False)])
async def test_a_worker_says_that_it_is_slower_than_real_time(lone_ms: float, slow: bool) -> None:
    async with stub_server(StubOptions(profile={1: lone_ms})) as server:
        load = await load_of(server)
    assert load.slower_than_real_time is slow
    assert load.lone_step_ms == lone_ms


async def test_a_client_that_vanishes_mid_frame_frees_its_slot() -> None:
    runner = StubRunner(slots=1)
    async with stub_server(StubOptions(runner=runner)) as server:
        async with connected(server.address) as (stub, _):
            call, _ = await open_session(stub)
            runner.gate.clear()
            await call.write(frame(0))
            await asyncio.to_thread(runner.entered.wait, NET_S)
        runner.gate.set()
        await asyncio.wait_for(wait_until_free(server), NET_S)
        assert len(await converse(server.address, OPEN, frame(0))) == 3


async def test_a_call_without_open_ends_after_its_time(clock: Clock) -> None:
    async with stub_server() as server, connected(server.address) as (stub, _):
        call = stub.Converse()
        await clock.outlast(server_call.OPEN_TIMEOUT_S)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call.read(), NET_S)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no Open" in (raised.value.details() or "")


async def test_an_idle_session_ends_after_its_time(clock: Clock) -> None:
    async with (
        stub_server(StubOptions(idle_timeout_ms=1_000_000)) as server,
        connected(server.address) as (stub, _),
    ):
        call, _ = await open_session(stub)
        await clock.outlast(1000.0)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call.read(), NET_S)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no frame" in (raised.value.details() or "")


async def test_a_failed_step_ends_its_session_with_internal(caplog: pytest.LogCaptureFixture) -> None:
    async with stub_server(StubOptions(runner=StubRunner(fail_on_code=7))) as server:
        error = await status_of(server.address, OPEN, frame(0))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "frame 0" in (error.details() or "")
    assert "failed" in caplog.text


async def test_a_flooding_client_is_read_no_faster_than_it_is_answered() -> None:
    runner = StubRunner()
    async with stub_server(StubOptions(runner=runner, max_frames_in_flight=4)) as server:
        runner.gate.clear()
        flood = asyncio.create_task(converse(server.address, OPEN, *map(frame, range(200))))
        await asyncio.to_thread(runner.entered.wait, NET_S)
        runner.gate.set()
        _, *frames, closed = await asyncio.wait_for(flood, NET_S)
    assert [reply.sequence for reply in frames] == list(range(200))
    assert closed.closed.frames == 200


async def test_timings_come_with_closed_when_asked_for() -> None:
    asking = pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, timings=True))
    async with stub_server() as server:
        *_, closed = await converse(server.address, asking, frame(0), frame(1))
    assert len(closed.closed.timings.wait_us) == len(closed.closed.timings.step_us) == 2


async def test_get_codec_streams_the_files_that_its_manifest_lists(tmp_path: Path) -> None:
    contents = {"codec.json": b"{}", "decoder.onnx": b"decoder" * 1000, "encoder.onnx": bytes(200_000)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    async with (
        stub_server(StubOptions(codec_files=codec_files(tmp_path))) as server,
        connected(server.address) as (stub, _),
    ):
        manifest, *chunks = [part async for part in stub.GetCodec(pb.GetCodecRequest())]
    assert {file.name: file.size_bytes for file in manifest.manifest.files} == {
        name: len(content) for name, content in contents.items()
    }
    assert [file.sha256 for file in manifest.manifest.files] == [
        hashlib.sha256(content).digest() for content in contents.values()
    ]
    assert b"".join(chunk.chunk for chunk in chunks) == b"".join(contents.values())


async def test_an_edge_that_vanishes_amid_the_codec_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "encoder.onnx").write_bytes(bytes(8 << 20))
    async with stub_server(StubOptions(codec_files=codec_files(tmp_path))) as server:
        for _ in range(5):
            async with connected(server.address) as (stub, _):
                await stub.GetCodec(pb.GetCodecRequest()).read()
        async with connected(server.address) as (stub, _):
            assert await stub.GetCodec(pb.GetCodecRequest(manifest_only=True)).read()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_codec_that_another_export_replaced_is_served_as_it_was_announced(tmp_path: Path) -> None:
    (tmp_path / "codec.json").write_bytes(b"{}")
    async with (
        stub_server(StubOptions(codec_files=codec_files(tmp_path))) as server,
        connected(server.address) as (stub, _),
    ):
        (tmp_path / "another").write_bytes(b"another export")
        (tmp_path / "another").replace(tmp_path / "codec.json")
        manifest, *parts = [part async for part in stub.GetCodec(pb.GetCodecRequest())]
    data = b"".join(part.chunk for part in parts)
    assert data == b"{}"
    assert hashlib.sha256(data).digest() == manifest.manifest.files[0].sha256


async def test_a_codec_that_is_gone_is_internal_and_tells_no_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "codec.json").write_bytes(b"{}")
    options = StubOptions(codec_files=codec_files(tmp_path))
    (tmp_path / "codec.json").write_bytes(b"")  # in place
    async with stub_server(options) as server, connected(server.address) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError, match="codec is gone") as raised:
            [part async for part in stub.GetCodec(pb.GetCodecRequest())]
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert str(tmp_path) not in (raised.value.details() or "")
    assert str(tmp_path) in caplog.text


async def test_a_session_that_cannot_be_started_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        stub_server(StubOptions(runner=StubRunner(fail_on_seed=13))) as server,
        connected(server.address) as (stub, _),
    ):
        neighbour, _ = await open_session(stub)
        unlucky = pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, seed=13))
        error = await status_of(server.address, unlucky, frame(0))
        assert error.code() is grpc.StatusCode.INTERNAL
        await neighbour.write(frame(0))
        await neighbour.write(frame(1))
        await neighbour.read()
        reply = await neighbour.read()
        assert (SPEC.model_packer.unpack(reply.codes) == expected(CODES, seed=3, step=1)).all()
        neighbour.cancel()
    assert "starting a session" in caplog.text


async def test_an_edge_that_takes_no_replies_ends_after_the_idle_time(clock: Clock) -> None:
    options = StubOptions(runner=StubRunner(slots=1), idle_timeout_ms=1_000_000)
    async with stub_server(options) as server, connected(server.address) as (stub, _):
        call, _ = await open_session(stub)

        async def flood() -> None:
            for sequence in range(100_000):
                await call.write(frame(sequence))

        # Nothing is read here: the replies fill the window, and the next one cannot leave.
        flooding = asyncio.create_task(flood())
        await until(lambda: options.runner.batches)
        await until_steady(lambda: len(options.runner.batches))
        assert (await load_of(server)).sessions == 1
        await clock.outlast(1000.0)
        await asyncio.wait_for(wait_until_free(server), NET_S)
        assert len(await converse(server.address, OPEN, frame(0))) == 3
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
