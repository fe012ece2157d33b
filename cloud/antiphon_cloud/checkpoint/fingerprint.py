"""A model's fingerprint of 32 bytes: workers with equal fingerprints can resume each other's sessions.

It hashes what decides tokens and their text: the shape in config.json, the kind of matrices (int8 or floats), the
tokenizer, and the name, dtype, shape and a sample of the bytes of every tensor of the weights and the adapter. It does
not depend on the names of files and folders, nor on whether the weights are in one file or several.

Two things are left out on purpose. Sampling is part of the session. Rounding of activations differs between machines
anyway (the device, --dtype, --kv-cache): it sometimes changes a token, and a resumed session takes the tokens of its
history. Matrices in int8 are other weights, though: a session that began with them resumes only on them.

A sample is no proof: it can miss a change of few of a tensor's bytes, such as one overwritten row. Training changes
nearly every weight that it trains, so it is always noticed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import msgspec

from antiphon.cache_folder import Kind, cache_root
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.files.tensor_file import TensorFile
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.model.config import LMConfig, ModelConfig

logger = logging.getLogger(__name__)

FORMAT = 1
PIECES, PIECE_BYTES = 8, 512  # per tensor: a few thousand small reads for 15 GB
KEPT_FROM_BYTES = 1 << 30  # of weights; smaller models are read again quickly
KEPT_FILE = ".antiphon-fingerprint.json"


class _Kept(msgspec.Struct):
    """The digests of a model's tensors, and the state of their files."""

    format: int
    files: list[tuple[str, tuple[int, int, int, int]]]
    digest: str


def model_fingerprint(directory: ModelDirectory, int8: bool) -> bytes:
    """The fingerprint of the directory's model with its matrices in int8, or in floats.

    The weights' digest is kept beside a large model, or in the cache if the model's folder cannot be written. It is
    computed again when a file's inode, size or times change.

    Raises:
        CheckpointError: a file of the weights is missing or damaged.
    """
    digest = hashlib.sha256(_settings(directory.config, int8))
    digest.update(_weights(directory))
    try:
        digest.update(hashlib.sha256(directory.tokenizer.read_bytes()).digest())
    except (CheckpointError, OSError):
        digest.update(b"no tokenizer")  # its reader reports it
    return digest.digest()


def _settings(config: ModelConfig, int8: bool) -> bytes:
    """config.json without names and without the 7B model's values, so that a later version with more settings gives
    today's models the same fingerprint."""
    usual = LMConfig()
    values = {
        field.name: getattr(config.lm, field.name)
        for field in fields(LMConfig)
        if getattr(config.lm, field.name) != getattr(usual, field.name)
    }
    adapter = [config.lora_rank, config.lora_scaling] if config.lora else None
    return msgspec.json.encode([FORMAT, config.model_type, int8, adapter, values], order="deterministic")


def _weights(directory: ModelDirectory) -> bytes:
    lora = directory.lora
    groups = [directory.weight_files, () if lora is None else (lora,)]
    with ExitStack() as stack:
        opened = [[stack.enter_context(TensorFile(path)) for path in paths] for paths in groups]
        files = [file for group in opened for file in group]
        states = [(file.path.name, file.state) for file in files]
        if sum(size for _, (_, size, *_) in states) < KEPT_FROM_BYTES:
            return sampled(opened)
        places = list(_places(directory.root))
        for place in places:
            if (kept := _read_kept(place)) is not None and (kept.format, kept.files) == (FORMAT, states):
                return bytes.fromhex(kept.digest)
        digest = sampled(opened)
    kept = _Kept(FORMAT, states, digest.hex())
    if not any(_keep(place, kept) for place in places):
        logger.info("the model's fingerprint is kept nowhere: neither its folder nor the cache can be written")
    return digest


def sampled(groups: Sequence[Sequence[TensorFile]]) -> bytes:
    """A hash of all tensors: the weights', then the adapter's."""
    digest = hashlib.sha256()
    for group in groups:
        by_name = {name: file for file in group for name in file.tensors}
        for name in sorted(by_name):
            held = by_name[name].tensors[name]
            digest.update(msgspec.json.encode([name, held.dtype, held.shape]))
            for piece in by_name[name].sample(name, PIECES, PIECE_BYTES):
                digest.update(piece)
        digest.update(b"\0")
    return digest.digest()


def _places(root: Path) -> Iterator[Path]:
    """Where a fingerprint may be kept, in order of preference."""
    yield root / KEPT_FILE
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    if (cache := cache_root()) is not None:
        yield cache / Kind.FINGERPRINTS.value / f"{name}.json"


def _read_kept(path: Path) -> _Kept | None:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        bytes.fromhex(kept.digest)
    except (OSError, msgspec.DecodeError, ValueError):
        return None
    return kept


def _keep(path: Path, kept: _Kept) -> bool:
    """Writes atomically, as others may read it; returns whether it worked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=path.name) as work:
            made = Path(work) / path.name
            made.write_bytes(msgspec.json.encode(kept))
            made.replace(path)
    except OSError:
        return False
    return True
