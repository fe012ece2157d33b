"""The codec from the worker: fetched once, checked, and nothing believed that a worker sends."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.errors import AntiphonError, ProtocolError, UnavailableError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_edge.codec.pull import pull_codec
from antiphon_edge.errors import CodecFilesError
from tests.support.ports import unused_address
from tests.support.servers import StubOptions, StubServer, codec_files, stub_server
from tests.support.servicers import serving


@pytest.fixture
def served_files(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "codec.json").write_bytes(b"{}")
    (folder / "encoder.onnx").write_bytes(bytes(range(256)) * 1000)
    (folder / "decoder.onnx").write_bytes(b"decoder" * 10_000)
    return folder


def serving_codec(folder: Path) -> AbstractAsyncContextManager[StubServer]:
    return stub_server(StubOptions(codec_files=codec_files(folder)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_pull_fetches_the_codec_once(served_files: Path, tmp_path: Path) -> None:
    cache, progress = tmp_path / "cache", list[tuple[int, int]]()
    async with serving_codec(served_files) as server:
        first = await pull_codec(server.address, cache, lambda done, total: progress.append((done, total)))
        fetched = len(progress)
        again = await pull_codec(server.address, cache, lambda done, total: progress.append((done, total)))
    assert contents(first) == contents(served_files)
    assert progress[-1][0] == progress[-1][1] == sum(map(len, contents(first).values()))
    assert (again, len(progress)) == (first, fetched)
    assert list((cache / "codecs").iterdir()) == [first]


async def test_pull_repairs_a_damaged_copy_and_sees_a_new_export(served_files: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    async with serving_codec(served_files) as server:
        first = await pull_codec(server.address, cache)
        for damage in (b"truncated", bytes((first / "encoder.onnx").stat().st_size)):
            (first / "encoder.onnx").write_bytes(damage)
            assert contents(await pull_codec(server.address, cache)) == contents(served_files)
    (served_files / "encoder.onnx").write_bytes(b"another export")
    async with serving_codec(served_files) as server:
        second = await pull_codec(server.address, cache)
    assert second != first
    assert contents(second) == contents(served_files)


async def test_who_hears_no_model_pulls_no_decoder(served_files: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    async with serving_codec(served_files) as server:
        half = await pull_codec(server.address, cache, encoder_only=True)
        assert contents(half).keys() == {"codec.json", "encoder.onnx"}
        assert await pull_codec(server.address, cache, encoder_only=True) == half
        whole = await pull_codec(server.address, cache)
        assert contents(whole) == contents(served_files)
        (half / "encoder.onnx").unlink()
        assert await pull_codec(server.address, cache, encoder_only=True) == whole


async def test_pull_into_an_unwritable_cache_is_one_sentence(served_files: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    async with serving_codec(served_files) as server:
        with pytest.raises(CodecFilesError, match=f"cannot keep the codec in {blocked}.*: .*; choose another `cache`"):
            await pull_codec(server.address, blocked / "cache")


async def test_a_disk_that_is_too_small_is_left_alone(
    served_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    async with serving_codec(served_files) as server:
        with pytest.raises(CodecFilesError, match=r"the codec takes 326002 bytes, and .* has 1000 left: make room"):
            await pull_codec(server.address, tmp_path / "cache")
    assert list((tmp_path / "cache/codecs").iterdir()) == []


async def test_a_home_that_cannot_be_written_does_without_a_cache(
    served_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.delenv("ANTIPHON_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    async with serving_codec(served_files) as server:
        assert contents(await pull_codec(server.address)) == contents(served_files)


async def test_a_pipe_in_the_cache_is_replaced_and_not_waited_for(served_files: Path, tmp_path: Path) -> None:
    async with serving_codec(served_files) as server:
        first = await pull_codec(server.address, tmp_path)
        (first / "codec.json").unlink()
        os.mkfifo(first / "codec.json")
        assert contents(await pull_codec(server.address, tmp_path)) == contents(served_files)


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

    async with serving(Service()) as address:
        yield address


CONTENT = b"the decoder"
SHA256 = hashlib.sha256(CONTENT).digest()


def manifest(*names: str, size_bytes: int = len(CONTENT), sha256: bytes = SHA256) -> pb.GetCodecResponse:
    files = [pb.CodecFile(name=name, size_bytes=size_bytes, sha256=sha256) for name in names or ["decoder.onnx"]]
    return pb.GetCodecResponse(manifest=pb.CodecManifest(files=files))


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
        ([manifest(size_bytes=2**30), chunk(CONTENT)], AntiphonError, "ended early"),
        ([manifest(size_bytes=2**62), chunk(CONTENT)], ProtocolError, f"a codec of {2**62} bytes"),
        ([manifest("a", "b", size_bytes=2**29 + 1), chunk(CONTENT)], ProtocolError, f"a codec of {2**30 + 2} bytes"),
        ([manifest("codec.json", size_bytes=2**20 + 1), chunk(CONTENT)], ProtocolError, "a codec.json of more than"),
        ([manifest(*(f"file{i}" for i in range(9))), chunk(CONTENT)], ProtocolError, "a codec of 9 files"),
        ([pb.GetCodecResponse(manifest=pb.CodecManifest())], ProtocolError, "a codec of 0 files"),
        ([manifest("a.onnx", "A.onnx"), chunk(CONTENT * 2)], ProtocolError, "two files of one name"),
        ([manifest("a" * 101), chunk(CONTENT)], ProtocolError, "a codec file named 'aaa"),
        ([manifest(sha256=b""), chunk(CONTENT)], ProtocolError, "without its SHA-256"),
        ([manifest(), chunk(CONTENT + b"!")], ProtocolError, "more bytes of its codec than it had announced"),
        ([manifest(), chunk(CONTENT), chunk(b"!")], ProtocolError, "more bytes of its codec than it had announced"),
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
    assert everything_in(tmp_path) <= {cache.parent, cache, cache / "codecs"}


@pytest.mark.parametrize("parts", [0, 1, 3], ids=["no manifest", "no bytes", "half of the bytes"])
async def test_a_codec_that_never_comes_whole_is_given_up(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, ended = asyncio.Event(), asyncio.Event()

    class Service(dialogue_pb2_grpc.DialogueServiceServicer):
        async def GetCodec(self, request: pb.GetCodecRequest, context: Any) -> None:  # noqa: N802
            for part in [manifest(), chunk(b"t"), chunk(b"h")][: min(parts, 1) if request.manifest_only else parts]:
                await context.write(part)
            if request.manifest_only and parts:
                return
            stalled.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    timers = list[asyncio.Timeout]()

    def timeout(delay: float | None, real: Callable[[float | None], asyncio.Timeout] = asyncio.timeout) -> Any:
        timers.append(real(delay))
        return timers[-1]

    monkeypatch.setattr("asyncio.timeout", timeout)
    async with serving(Service()) as address:
        pull = asyncio.create_task(pull_codec(address, tmp_path, timeout_s=600))
        await stalled.wait()
        timers[0].reschedule(0)  # the 600 s are over
        with pytest.raises(UnavailableError, match="did not send its codec within 600 s"):
            await pull
        await ended.wait()  # the call, too
    assert everything_in(tmp_path) <= {tmp_path / "codecs"}
