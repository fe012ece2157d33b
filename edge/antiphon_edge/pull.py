"""Fetches a worker's codec into a cache, checked, so that a bare edge needs one address and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import platformdirs

from antiphon.errors import AntiphonError, ProtocolError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.connection import open_channel
from antiphon_edge.credentials import PLAINTEXT, Credentials
from antiphon_edge.errors import CodecFilesError

FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


def default_cache() -> Path:
    """Where pulled codecs are kept: the user's cache folder."""
    return Path(platformdirs.user_cache_dir("antiphon")) / "codecs"


async def pull_codec(
    address: str, cache: Path | None = None, progress: Progress | None = None, credentials: Credentials = PLAINTEXT
) -> Path:
    """The folder of the codec that the worker at `address` serves, downloaded unless the cache holds it already.

    Args:
        address: HOST:PORT.
        cache: folder of codecs; None takes the user's cache folder.
        progress: called as bytes arrive.
        credentials: TLS and API key; none will do for a worker on this machine only.

    Raises:
        UnavailableError: nobody answers at `address`.
        CodecFilesError: the download does not match its SHA-256, or the cache cannot be written.
    """
    cache = default_cache() if cache is None else cache
    async with open_channel(address, credentials) as stub:
        manifest = await _manifest(aiter(stub.GetCodec(pb.GetCodecRequest(manifest_only=True))), address)
        folder = cache / _folder_name(manifest)
        if not await asyncio.to_thread(_is_complete, folder, manifest):
            parts = aiter(stub.GetCodec(pb.GetCodecRequest()))
            await _fetch(parts, await _manifest(parts, address), folder, address, progress)
    return folder


async def _manifest(parts: AsyncIterator[pb.GetCodecResponse], address: str) -> pb.CodecManifest:
    """The first part, whose files' names lead nowhere but into a folder of their own."""
    first = await anext(parts, None)
    if first is None or first.WhichOneof("part") != "manifest":
        raise ProtocolError(f"the worker at {address} sent a codec without its manifest; upgrade one of the two")
    for file in first.manifest.files:
        if not FILE_NAME.fullmatch(file.name):
            raise ProtocolError(f"the worker at {address} sent a codec file named {file.name!r}: refused")
    return first.manifest


async def _fetch(
    parts: AsyncIterator[pb.GetCodecResponse],
    manifest: pb.CodecManifest,
    folder: Path,
    address: str,
    progress: Progress | None,
) -> None:
    """Downloads into a folder beside `folder`, and moves it there once it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix="pulling-", dir=folder.parent))
        try:
            await _download(parts, manifest, partial, address, progress)
            _replace(partial, folder, manifest)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise CodecFilesError(
            f"cannot keep the codec in {folder.parent}: {error.strerror}; choose another cache"
        ) from None


def _folder_name(manifest: pb.CodecManifest) -> str:
    """Names the files' content, so that a cached folder is found again and a new export gets a new one."""
    digest = hashlib.sha256(b"".join(file.name.encode() + file.sha256 for file in manifest.files))
    return f"{manifest.codec.fingerprint.hex()[:12]}-{digest.hexdigest()[:12]}"


def _is_complete(folder: Path, manifest: pb.CodecManifest) -> bool:
    """Whether the cache holds every file, unharmed."""
    for file in manifest.files:
        try:
            with (folder / file.name).open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").digest() != file.sha256:
                    return False
        except OSError:
            return False
    return True


def _replace(partial: Path, folder: Path, manifest: pb.CodecManifest) -> None:
    """Puts a whole download in the place of nothing, or of a damaged one."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        partial.rename(folder)
    except OSError:
        if not _is_complete(folder, manifest):  # else another pull was faster
            raise


async def _download(
    parts: AsyncIterator[pb.GetCodecResponse],
    manifest: pb.CodecManifest,
    folder: Path,
    address: str,
    progress: Progress | None,
) -> None:
    total = sum(file.size_bytes for file in manifest.files)
    done = 0
    leftover = b""
    for file in manifest.files:
        digest = hashlib.sha256()
        missing = file.size_bytes
        with (folder / file.name).open("wb") as out:
            while missing:
                chunk = leftover or (await _next_chunk(parts, address))
                chunk, leftover = chunk[:missing], chunk[missing:]
                out.write(chunk)
                digest.update(chunk)
                missing -= len(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
        if digest.digest() != file.sha256:
            raise CodecFilesError(f"{file.name} from {address} does not match its SHA-256: pull again")


async def _next_chunk(parts: AsyncIterator[pb.GetCodecResponse], address: str) -> bytes:
    part = await anext(parts, None)
    if part is None or not part.chunk:
        raise AntiphonError(f"the codec from {address} ended early: pull again")
    return part.chunk
