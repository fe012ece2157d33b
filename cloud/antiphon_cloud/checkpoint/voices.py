"""The voices of a PersonaPlex directory: `voices/NAME.pt`, or the same files in `voices.tgz`.

A voice is what a stretch of speech left in the model: the inputs of its steps, already embedded, and the tokens that
its streams held last. Both kinds of file come from strangers: a `.pt` is read without its pickle's code, and an archive
is unpacked file by file, into a folder of its own.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from antiphon.cache_folder import Kind, cache_folder
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.model.config import LMConfig

FOLDER, ARCHIVE, SUFFIX = "voices", "voices.tgz", ".pt"
MOST_VOICES = 1000
LARGEST_BYTES = 256 << 20  # of one voice: 30,000 frames of the 7B
ALL_BYTES = 2 << 30  # of an archive's voices


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice as its file holds it."""

    name: str
    sha256: bytes  # of the file
    embeddings: Tensor  # [frames − 1, dim]: the input of each of its steps
    last_tokens: Tensor  # int64 [R, 1 + dep_q]: text and codes of its last frames, undelayed

    @property
    def frames(self) -> int:
        """Frames that the voice takes of a session."""
        return len(self.embeddings) + 1


def voice_files(root: Path) -> dict[str, Path]:
    """The files of the voices in a model directory, by name, in order. An archive is unpacked into the cache first.

    Raises:
        CheckpointError: the archive is damaged, or holds what no archive of voices does.
    """
    folder, archive = root / FOLDER, root / ARCHIVE
    if not folder.is_dir() and archive.is_file():
        folder = _unpacked(archive)
    found = sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())
    if len(found) > MOST_VOICES:
        raise CheckpointError(f"{folder}: {len(found)} voices; keep {MOST_VOICES} at most there")
    return {path.name.removesuffix(SUFFIX): path for path in found}


def read_voices(root: Path, config: LMConfig) -> dict[str, Voice]:
    """All voices of a model directory, by name; see `voice_files` and `read_voice`."""
    return {name: read_voice(path, config) for name, path in voice_files(root).items()}


def read_voice(path: Path, config: LMConfig) -> Voice:
    """The voice in a `.pt` file.

    Args:
        path: the file.
        config: of the model that it was made with.

    Raises:
        CheckpointError: it cannot be read, is a pickle of something else, or is another model's voice.
    """
    held, sha256 = _load(path)
    if not isinstance(held, dict) or not isinstance(held.get("embeddings"), Tensor):
        raise CheckpointError(f"{path}: no voice of PersonaPlex, which holds embeddings and cache; {_REPLACE}")
    embeddings, cache = held["embeddings"], held.get("cache")
    steps = len(embeddings) if embeddings.dim() else 0
    if tuple(embeddings.shape) != (steps, 1, 1, config.dim) or not steps or not embeddings.is_floating_point():
        raise CheckpointError(
            f"{path}: embeddings are {_shown(embeddings)}; this model's voices have floats [n, 1, 1, {config.dim}]"
        )
    ring = config.max_delay + 3
    if not isinstance(cache, Tensor) or tuple(cache.shape) != (1, config.streams, ring) or cache.is_floating_point():
        shown = _shown(cache) if isinstance(cache, Tensor) else "missing"
        raise CheckpointError(
            f"{path}: cache is {shown}; this model's voices have whole numbers [1, {config.streams}, {ring}]"
        )
    if not embeddings.isfinite().all():
        raise CheckpointError(f"{path}: some embeddings are no numbers; {_REPLACE}")
    last = _undelayed(cache[0].long(), steps, config)
    limits = torch.tensor([config.text_card, *[config.card] * config.dep_q])
    if ((last < 0) | (last >= limits)).any():
        raise CheckpointError(f"{path}: cache holds tokens that this model does not have; {_REPLACE}")
    return Voice(path.name.removesuffix(SUFFIX), sha256, embeddings[:, 0, 0].clone(), last)


_REPLACE = "download it again, or remove it"


def _load(path: Path) -> tuple[Any, bytes]:
    """What a `.pt` file holds, and its SHA-256."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise CheckpointError(f"{path}: larger than any voice ({LARGEST_BYTES >> 20} MiB); {_REPLACE}")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that are none of torch's
            held = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: a pickle that holds more than tensors, which could run code; {_REPLACE}"
        ) from error
    except Exception as error:  # torch raises whatever it stumbles over in a damaged file
        raise CheckpointError(f"{path}: no file of torch.save, or a damaged one; {_REPLACE}") from error
    return held, hashlib.sha256(data).digest()


def _shown(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _undelayed(ring: Tensor, steps: int, config: LMConfig) -> Tensor:
    """The last frames' text and codes [R, 1 + dep_q] of a token ring [streams, R], in which a stream of delay d has
    frame f at f + d; the last frame's number is `steps`."""
    size = ring.shape[1]
    frames = torch.arange(steps - size + 1, steps + 1)  # [R]
    streams = torch.arange(1 + config.dep_q)
    delays = torch.tensor(config.delays)[streams]
    return ring[streams, (frames[:, None] + delays) % size]


def _unpacked(archive: Path) -> Path:
    """The folder of an archive's voices, unpacked unless it was before."""
    state = archive.stat()
    name = hashlib.sha256(
        f"{os.fsencode(archive.resolve())!r} {state.st_size} {state.st_mtime_ns}".encode()
    ).hexdigest()
    folder = cache_folder(Kind.VOICES) / name[:32]
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=folder.name) as work:
        made = Path(work) / FOLDER
        made.mkdir()
        try:
            with tarfile.open(archive, "r:gz") as tar:
                for member in _members(archive, tar):
                    (made / PurePosixPath(member.name).name).write_bytes(_content(tar, member))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise CheckpointError(f"{archive}: a damaged archive ({error}); download it again") from error
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _members(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The voices of an archive, none of which can be written elsewhere than among the others.

    Raises:
        CheckpointError: a name leads out of the archive, or a member is no file; or it is too much.
    """
    size, count = 0, 0
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
            raise CheckpointError(f"{archive}: {member.name!r} would be written elsewhere; do not use this archive")
        if not member.isdir() and not member.isreg():
            raise CheckpointError(
                f"{archive}: {member.name!r} is no file but a link or a device; do not use this archive"
            )
        size, count = size + member.size, count + 1
        if member.size > LARGEST_BYTES or size > ALL_BYTES or count > MOST_VOICES:
            raise CheckpointError(
                f"{archive}: more than {MOST_VOICES} files, {ALL_BYTES >> 30} GiB, or {LARGEST_BYTES >> 20} MiB in "
                "one; unpack it into voices/ and keep the voices that you use"
            )
        if member.isreg() and path.suffix == SUFFIX and not path.name.startswith("."):
            yield member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None, "it is a file"
    return file.read()
