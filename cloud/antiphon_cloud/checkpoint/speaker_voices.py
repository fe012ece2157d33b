"""Voices of models that attend to one: `voices/NAME.wav.SIG@EPOCH.safetensors` in the model directory, in folders too.

The published ones are the repository kyutai/tts-voices, whose content is put, or linked, where `voices` is. A name is
the file's path below that folder, `expresso/ex03` for `voices/expresso/ex03.wav.SIG@EPOCH.safetensors`; it may end in
`.wav` as well. Each model has its own files: SIG and EPOCH are of its config's `model_id`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path, PurePosixPath

from torch import Tensor

from antiphon_cloud.checkpoint.conditions import SOUND, no_such_voice
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.files.tensor_file import DTYPES, TensorFile
from antiphon_cloud.checkpoint.fingerprint import PIECE_BYTES, PIECES
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.model.conditioners import VOICE_STEPS

logger = logging.getLogger(__name__)

FOLDER = "voices"
LONGEST_NAME = 256


def list_voices(directory: ModelDirectory) -> tuple[str, ...]:
    """The names of the voices that the model has, sorted; none for a model that attends to none."""
    root, suffix = directory.root / FOLDER, _suffix(directory)
    if suffix is None:
        return ()
    names = []
    for folder, _, files in os.walk(root):
        for file in files:
            if file.endswith(suffix):
                path = Path(folder, file.removesuffix(suffix).removesuffix(SOUND))
                names.append(path.relative_to(root).as_posix())
    return tuple(sorted(names))


def voice_file(directory: ModelDirectory, name: str) -> Path:
    """The file of a voice.

    Raises:
        PreconditionError: the model has no such voice; the message names some that it has.
    """
    suffix = _suffix(directory)
    if suffix is not None and is_safe(name):
        for sound in (SOUND, ""):
            path = directory.root / FOLDER / f"{name.removesuffix(SOUND)}{sound}{suffix}"
            if path.is_file():
                return path
    raise no_such_voice(name, list_voices(directory))


def read_voice(path: Path, tensor: str, dim: int) -> Tensor:
    """A voice's vectors, float32 [T, dim].

    Raises:
        CheckpointError: the file is damaged, or of another kind of model.
    """
    with TensorFile(path) as file:
        held = file.tensors.get(tensor)
        if held is None or len(held.shape) != 3 or held.shape[:2] != (1, dim) or held.dtype not in DTYPES:
            found = "none" if held is None else f"{held.dtype} {list(held.shape)}"
            raise CheckpointError(f"{path}: {tensor}: expected [1, {dim}, steps] in floats, found {found}")
        if not 0 < held.shape[2] <= VOICE_STEPS:
            raise CheckpointError(f"{path}: {tensor}: expected 1 to {VOICE_STEPS} steps, found {held.shape[2]}")
        return file.read(tensor)[0].float().t()


def voice_digests(directory: ModelDirectory) -> dict[str, bytes]:
    """The voices of `list_voices`, and a hash of a sample of each, by which two workers know that they have the same.
    A file that cannot be read is left out, and the log says so."""
    digests = {}
    for name in list_voices(directory):
        try:
            with TensorFile(voice_file(directory, name)) as file:
                digest = hashlib.sha256()
                for tensor, held in sorted(file.tensors.items()):
                    digest.update(f"{tensor} {held.dtype} {held.shape}".encode())
                    for piece in file.sample(tensor, PIECES, PIECE_BYTES):
                        digest.update(piece)
            digests[name] = digest.digest()
        except CheckpointError as error:
            logger.warning("the voice %s is left out: %s", name, error)
    return digests


def is_safe(name: str) -> bool:
    """Whether the name stays below the folder that it is looked for in."""
    path = PurePosixPath(name)
    parts = name.split("/")
    return (
        0 < len(name) <= LONGEST_NAME
        and not path.is_absolute()
        and not {"", ".", ".."} & set(parts)
        and ("\0" not in name and "\\" not in name)
    )


def _suffix(directory: ModelDirectory) -> str | None:
    """What the names of the model's voices end with; None for a model that attends to none."""
    sig, epoch = (directory.config.model_id.get(key) for key in ("sig", "epoch"))
    if not directory.config.lm.fuser.cross or not isinstance(sig, str) or "/" in sig or not isinstance(epoch, int):
        return None
    return f".{sig}@{epoch}.safetensors"
