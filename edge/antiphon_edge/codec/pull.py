"""Fetches a worker's codec into a cache, checked, so that a bare edge needs one address and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from antiphon.cache_folder import Kind, cache_folder, cache_root
from antiphon.codec_manifest import MANIFEST_FILE, MAX_CODEC_BYTES, MAX_MANIFEST_BYTES
from antiphon.errors import AntiphonError, ProtocolError, UnavailableError
from antiphon.regular_file import open_regular
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.errors import CodecFilesError
from antiphon_edge.transport.channel import open_channel
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials

FILE_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
MAX_FILES = 8  # a codec has three
TIMEOUT_S = 900.0  # 100 MB at 1 Mbit/s, and some

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


async def pull_codec(
    address: str,
    cache: Path | None = None,
    progress: Progress | None = None,
    credentials: Credentials = PLAINTEXT,
    timeout_s: float = TIMEOUT_S,
    *,
    encoder_only: bool = False,
) -> Path:
    """The folder of the codec that the worker at `address` serves, downloaded unless the cache holds it already.

    Args:
        address: HOST:PORT.
        cache: root of what is kept, as ANTIPHON_CACHE names it; None takes that, or the user's cache folder. Where the
            latter cannot be written, the codec lasts as long as this process.
        progress: called as bytes arrive.
        credentials: TLS and API key; none will do for a worker on this machine only.
        timeout_s: for all of it, in seconds.
        encoder_only: the decoder need not be there, for a model that only listens; load with `only="encoder"`.

    Raises:
        UnavailableError: nobody answers at `address`, or the codec is not whole in time.
        ProtocolError: what the worker sends is no codec: too large, too many files, or names that lead elsewhere.
        CodecFilesError: the download does not match its SHA-256, or the cache cannot be written.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _pull(address, cache, progress, credentials, encoder_only)
    except TimeoutError:
        raise UnavailableError(
            f"the worker at {address} did not send its codec within {timeout_s:g} s: pull again, or allow more time "
            "with `timeout_s`"
        ) from None


async def _pull(
    address: str, cache: Path | None, progress: Progress | None, credentials: Credentials, encoder_only: bool
) -> Path:
    async with open_channel(address, credentials) as stub:
        asked = pb.GetCodecRequest(manifest_only=True, encoder_only=encoder_only)
        manifest = await _manifest(aiter(stub.GetCodec(asked)), address)
        kept = await asyncio.to_thread(_kept, manifest, cache)
        if kept is not None:
            return kept
        parts = aiter(stub.GetCodec(pb.GetCodecRequest(encoder_only=encoder_only)))
        manifest = await _manifest(parts, address)  # behind a load balancer, perhaps another worker's
        return await _fetch(parts, manifest, cache, address, progress)


async def _manifest(parts: AsyncIterator[pb.GetCodecResponse], address: str) -> pb.CodecManifest:
    """The first part, of which nothing is believed that a codec cannot be.

    Raises:
        ProtocolError: it announces more than a codec has, or files' names lead anywhere but into a folder of their own.
    """
    first = await anext(parts, None)
    if first is None or first.WhichOneof("part") != "manifest":
        raise ProtocolError(f"the worker at {address} sent a codec without its manifest; upgrade one of the two")
    files = first.manifest.files
    if refusal := _refusal(files):
        raise ProtocolError(f"the worker at {address} sent {refusal}: refused")
    return first.manifest


def _refusal(files: Iterable[pb.CodecFile]) -> str | None:
    """What no codec has."""
    names = [file.name for file in files]
    if not 0 < len(names) <= MAX_FILES:
        return f"a codec of {len(names)} files, where {MAX_FILES} are the most"
    for name in names:
        if not FILE_NAME.fullmatch(name):
            return f"a codec file named {name[:100]!r}"
    if len({name.casefold() for name in names}) < len(names):
        return "a codec with two files of one name"
    if (total := sum(file.size_bytes for file in files)) > MAX_CODEC_BYTES:
        return f"a codec of {total} bytes, where {MAX_CODEC_BYTES} are the most"
    if any(file.name == MANIFEST_FILE and file.size_bytes > MAX_MANIFEST_BYTES for file in files):
        return f"a {MANIFEST_FILE} of more than {MAX_MANIFEST_BYTES} bytes"
    if any(len(file.sha256) != hashlib.sha256().digest_size for file in files):
        return "a codec file without its SHA-256"
    return None


def _kept(manifest: pb.CodecManifest, cache: Path | None) -> Path | None:
    """Where the codec is kept already, with other files of it perhaps."""
    root = cache_root(cache)
    if root is None:
        return None
    parent, name = root / Kind.PULLED_CODECS.value, _folder_name(manifest)
    others = sorted(parent.glob(f"{name.partition('-')[0]}-*"))
    return next((folder for folder in (parent / name, *others) if _is_complete(folder, manifest)), None)


async def _fetch(
    parts: AsyncIterator[pb.GetCodecResponse],
    manifest: pb.CodecManifest,
    cache: Path | None,
    address: str,
    progress: Progress | None,
) -> Path:
    """Downloads into a folder beside the codec's, and moves it there once it is whole."""
    total = sum(file.size_bytes for file in manifest.files)
    try:
        parent = cache_folder(Kind.PULLED_CODECS, cache)
        if (free := shutil.disk_usage(parent).free) < total:
            raise CodecFilesError(
                f"the codec takes {total} bytes, and {parent} has {free} left: make room, or choose another `cache`"
            )
        folder = parent / _folder_name(manifest)
        partial = Path(tempfile.mkdtemp(prefix="pulling-", dir=parent))
        try:
            await _download(parts, manifest, partial, address, progress)
            _replace(partial, folder, manifest)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        where = error.filename or cache_root(cache)
        raise CodecFilesError(f"cannot keep the codec in {where}: {error.strerror}; choose another `cache`") from None
    return folder


def _folder_name(manifest: pb.CodecManifest) -> str:
    """Names the files' content, so that a cached folder is found again and a new export gets a new one."""
    digest = hashlib.sha256(b"".join(file.name.encode() + file.sha256 for file in manifest.files))
    return f"{manifest.codec.fingerprint.hex()[:12]}-{digest.hexdigest()[:12]}"


def _is_complete(folder: Path, manifest: pb.CodecManifest) -> bool:
    """Whether the cache holds every file, unharmed."""
    for file in manifest.files:
        try:
            with open_regular(folder / file.name) as opened:
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
    if leftover or await anext(parts, None) is not None:
        raise ProtocolError(f"the worker at {address} sent more bytes of its codec than it had announced: refused")


async def _next_chunk(parts: AsyncIterator[pb.GetCodecResponse], address: str) -> bytes:
    part = await anext(parts, None)
    if part is None or not part.chunk:
        raise AntiphonError(f"the codec from {address} ended early: pull again")
    return part.chunk
