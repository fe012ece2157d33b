"""What the page asks for before it talks: the model, the codec, and its own files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from antiphon.v1 import dialogue_pb2 as pb
from antiphon_gateway.doors.page import door
from antiphon_gateway.doors.requests import sentences
from antiphon_gateway.server import application
from antiphon_gateway.server.config import Workers
from antiphon_gateway.server.process import Server
from tests.support.gateways import gateway
from tests.support.ports import unused_address
from tests.support.servers import CODEC, StubOptions, StubServer, codec_files, stub_server


@pytest.fixture
async def worker(tiny_codec: Path) -> AsyncIterator[StubServer]:
    async with stub_server(StubOptions(codec_files=codec_files(tiny_codec))) as running:
        yield running


@pytest.fixture
async def served(worker: StubServer) -> AsyncIterator[Server]:
    async with gateway([worker.address]) as server:
        yield server


class Answer:
    """What a request was answered."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status, self.headers, self.body = response.status, response.headers, body


async def get(server: Server, path: str) -> Answer:
    async with aiohttp.ClientSession(f"http://{server.address}") as client, client.get(path) as response:
        return Answer(response, await response.read())


async def test_the_model_is_as_the_worker_says(served: Server) -> None:
    answer = await get(served, "/v1/model")
    told = pb.GetModelResponse.FromString(answer.body)
    assert (told.model.name, told.codec.fingerprint) == ("stub", CODEC.fingerprint)
    assert door.TRANSCRIBER not in answer.headers


async def test_a_transcriber_is_told_of_and_asked_at_its_own_address(worker: StubServer) -> None:
    workers = Workers((worker.address,), transcription=(worker.address,))
    async with gateway([], workers=workers) as server:
        assert door.TRANSCRIBER in (await get(server, "/v1/model")).headers
        assert pb.GetModelResponse.FromString((await get(server, "/v1/transcriber/model")).body).model.name == "stub"


async def test_the_first_worker_that_answers_is_asked(worker: StubServer) -> None:
    async with gateway([unused_address(), worker.address]) as server:
        assert (await get(server, "/v1/model")).status == 200


async def test_the_codec_comes_whole_and_is_kept_by_its_hash(served: Server, tiny_codec: Path) -> None:
    assert (await get(served, "/v1/codec/codec.json")).body == (tiny_codec / "codec.json").read_bytes()
    content = (tiny_codec / "encoder.onnx").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    named = await get(served, f"/v1/codec/encoder.onnx?sha256={sha256}")
    assert named.body == content
    assert "immutable" in named.headers["Cache-Control"]
    assert "immutable" not in (await get(served, "/v1/codec/encoder.onnx?sha256=0")).headers["Cache-Control"]


@pytest.mark.parametrize("name", ["other.onnx", "%2e%2e%2fsecret", "mimi.safetensors"])
async def test_of_the_codecs_folder_only_the_codec_is_served(name: str, served: Server) -> None:
    assert (await get(served, f"/v1/codec/{name}")).status == 404


async def test_where_there_is_no_transcriber_it_is_said_in_a_sentence(served: Server) -> None:
    answer = await get(served, "/v1/transcriber/model")
    assert answer.status == 503
    assert b"no worker for transcripts" in answer.body


async def test_a_client_that_is_gone_before_it_was_answered_is_no_error_of_the_gateway() -> None:
    async def gone(request: web.Request) -> web.StreamResponse:
        raise ConnectionResetError

    assert (await sentences(make_mocked_request("GET", "/v1/frames"), gone)).status == 400


async def test_the_page_may_ask_nobody_else(
    worker: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("<title>the page</title>")
    monkeypatch.setattr(application, "PAGE", tmp_path)
    async with gateway([worker.address]) as server:
        answer = await get(server, "/")
    assert answer.body == b"<title>the page</title>"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; ")


async def test_a_checkout_without_the_page_says_how_to_build_it(
    worker: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "PAGE", tmp_path)
    async with gateway([worker.address]) as server:
        assert b"`make page` builds it" in (await get(server, "/")).body
