"""Adapters over the wire: listed, chosen, refused, and kept through a resume."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from antiphon.errors import PreconditionError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles
from antiphon_cloud.engine.adapters import AdapterAccount
from antiphon_edge import connect
from tests.support.calls import CODES, connected, converse, frame, resuming, status_of
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server

SHA256 = hashlib.sha256(b"a").digest()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[StubServer]:
    """One place, two adapters."""
    for name in "ab":
        (tmp_path / f"{name}.safetensors").write_text(name)
    async with stub_server(StubOptions(adapters=AdapterAccount(AdapterFiles([tmp_path]), 1))) as running:
        yield running


def opening(adapter: str) -> pb.ConverseRequest:
    return pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, seed=3, adapter=adapter))


async def test_the_worker_lists_what_is_there_now(server: StubServer, tmp_path: Path) -> None:
    async with connected(server.address) as (stub, _):
        assert list((await stub.GetModel(pb.GetModelRequest())).adapters) == ["a", "b"]
        (tmp_path / "c.safetensors").write_text("c")
        assert list((await stub.GetModel(pb.GetModelRequest())).adapters) == ["a", "b", "c"]


async def test_a_session_has_the_adapter_that_it_asks_for(server: StubServer) -> None:
    responses = await converse(server.address, opening("a"), frame(0))
    assert responses[0].opened.adapter_sha256 == SHA256
    assert server.runner.places[0] == 0
    responses = await converse(server.address, opening(""), frame(0))
    assert responses[0].opened.adapter_sha256 == b""
    assert server.runner.places[0] is None


@pytest.mark.parametrize("name", ["c", "../a", "a.safetensors"])
async def test_another_name_is_refused_with_some_that_are_there(server: StubServer, name: str) -> None:
    error = await status_of(server.address, opening(name))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "there are a, b" in (error.details() or "")


async def test_where_sessions_have_all_places_another_adapter_is_refused_with_a_time_to_come_back(
    server: StubServer,
) -> None:
    async with connect(server.address, CODEC, adapter="a") as session:
        await session.send(CODES)
        assert await session.receive()
        error = await status_of(server.address, opening("b"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "memory for 1 adapters at once" in (error.details() or "")
        assert (await converse(server.address, opening("a"), frame(0)))[0].opened.adapter_sha256 == SHA256
    assert (await converse(server.address, opening("b"), frame(0)))[0].HasField("opened")


async def test_a_resumed_session_has_its_adapter_or_is_refused(server: StubServer, tmp_path: Path) -> None:
    request = resuming(4)
    request.open.adapter, request.open.adapter_sha256 = "a", SHA256
    assert (await converse(server.address, request, frame(4)))[0].opened.rebuilt_steps == 4
    (tmp_path / "a.safetensors").write_text("another a")
    error = await status_of(server.address, request)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "open.adapter_sha256" in (error.details() or "")


async def test_what_is_kept_of_a_prompt_is_of_the_adapter_that_is_there_now(server: StubServer, tmp_path: Path) -> None:
    """A file that changes is another adapter, under the same name."""
    request, kept_for = resuming(4), []
    request.open.adapter = "a"
    for text in ("a", "another a"):
        (tmp_path / "a.safetensors").write_text(text)
        await converse(server.address, request, frame(4))
        kept_for.append(server.runner.settings.adapter_sha256)
    assert kept_for == [SHA256, hashlib.sha256(b"another a").digest()]


async def test_the_sdk_asks_by_name_and_hears_of_those_that_are_there(server: StubServer) -> None:
    with pytest.raises(PreconditionError, match="no adapter 'x' is here; there are a, b"):
        async with connect(server.address, CODEC, adapter="x"):
            raise AssertionError("it must not open")
