"""The codec from the worker: fetched once, checked, and nothing believed that a worker sends."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from antiphon.errors import AntiphonError, ProtocolError, UnavailableError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_edge.errors import CodecFilesError
from antiphon_edge.pull import pull_codec
from tests.support.ports import unused_address
from tests.support.servers import StubOptions, codec_files, stub_server


@pytest.fixture
def served_files(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "codec.json").write_bytes(b"{}")
    (folder / "encoder.onnx").write_bytes(bytes(range(256)) * 1000)
    (folder / "decoder.onnx").write_bytes(b"decoder" * 10_000)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_pull_fetches_the_codec_once(served_files: Path, tmp_path: Path) -> None:
    cache, progress = tmp_path / "cache", list[tuple[int, int]]()
    async with stub_server(StubOptions(codec_files=codec_files(served_files))) as server:
        first = await pull_codec(server.address, cache, lambda done, total: progress.append((done, total)))
        fetched = len(progress)
        again = await pull_codec(server.address, cache, lambda done, total: progress.append((done, total)))
    assert contents(first) == contents(served_files)
    assert progress[-1][0] == progress[-1][1] == sum(map(len, contents(first).values()))
    assert (again, len(progress)) == (first, fetched)
    assert list(cache.iterdir()) == [first]


async def test_pull_repairs_a_damaged_copy_and_sees_a_new_export(served_files: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    async with stub_server(StubOptions(codec_files=codec_files(served_files))) as server:
        first = await pull_codec(server.address, cache)
        for damage in (b"truncated", bytes((first / "encoder.onnx").stat().st_size)):
            (first / "encoder.onnx").write_bytes(damage)
            assert contents(await pull_codec(server.address, cache)) == contents(served_files)
    (served_files / "encoder.onnx").write_bytes(b"another export")
    async with stub_server(StubOptions(codec_files=codec_files(served_files))) as server:
        second = await pull_codec(server.address, cache)
    assert second != first
    assert contents(second) == contents(served_files)


async def test_pull_into_an_unwritable_cache_is_one_sentence(served_files: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    async with stub_server(StubOptions(codec_files=codec_files(served_files))) as server:
        with pytest.raises(CodecFilesError, match="cannot keep the codec"):
            await pull_codec(server.address, blocked / "cache")


async def test_pull_from_nobody_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises((UnavailableError, ProtocolError), match="no worker answers"):
        await pull_codec(unused_address(), tmp_path)


@asynccontextmanager
async def worker_that_sends(parts: Sequence[pb.GetCodecResponse]) -> AsyncIterator[str]:
    """The address of a worker that answers GetCodec with these parts."""

    class Service(dialogue_pb2_grpc.DialogueServiceServicer):
        async def GetCodec(self, request: pb.GetCodecRequest, context: Any) -> None:  # noqa: N802
            for part in parts[:1] if request.manifest_only else parts:
                await context.write(part)

    server = grpc.aio.server()
    dialogue_pb2_grpc.add_DialogueServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


CONTENT = b"the decoder"
SHA256 = hashlib.sha256(CONTENT).digest()


def manifest(name: str = "decoder.onnx", size_bytes: int = len(CONTENT), sha256: bytes = SHA256) -> pb.GetCodecResponse:
    file = pb.CodecFile(name=name, size_bytes=size_bytes, sha256=sha256)
    return pb.GetCodecResponse(manifest=pb.CodecManifest(files=[file]))


def chunk(data: bytes) -> pb.GetCodecResponse:
    return pb.GetCodecResponse(chunk=data)


def everything_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ([manifest(), chunk(b"the encoder")], CodecFilesError, "does not match its SHA-256"),
        ([manifest(size_bytes=12), chunk(CONTENT + b"!")], CodecFilesError, "does not match its SHA-256"),
        ([manifest(), chunk(CONTENT[:5])], AntiphonError, "ended early"),
        ([manifest(), manifest()], AntiphonError, "ended early"),
        ([manifest(size_bytes=2**60), chunk(CONTENT)], AntiphonError, "ended early"),
        ([chunk(CONTENT)], ProtocolError, "without its manifest"),
        ([], ProtocolError, "without its manifest"),
        *(
            ([manifest(name), chunk(CONTENT)], ProtocolError, "refused")
            for name in ("../decoder.onnx", "/tmp/decoder.onnx", ".bashrc", "..", "", "a\0b", "a/b", "-rf", "a\n")
        ),
    ],
)
async def test_a_codec_that_is_not_what_it_claims_is_not_kept(
    parts: list[pb.GetCodecResponse], error: type[AntiphonError], words: str, tmp_path: Path
) -> None:
    cache = tmp_path / "inner" / "cache"
    async with worker_that_sends(parts) as address:
        with pytest.raises(error, match=words) as raised:
            await pull_codec(address, cache)
    assert "\n" not in str(raised.value)
    assert everything_in(tmp_path) <= {cache.parent, cache}
