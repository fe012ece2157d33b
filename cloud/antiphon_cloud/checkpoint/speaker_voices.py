"""Voices of models that attend to one: `voices/NAME.wav.SIG@EPOCH.safetensors` in the model directory, in folders too.

The published ones are the repository kyutai/tts-voices, whose content is put, or linked, where `voices` is. A name is
the file's path below that folder, `expresso/ex03` for `voices/expresso/ex03.wav.SIG@EPOCH.safetensors`; it may end in
`.wav` as well. Each model has its own files: SIG and EPOCH are of its config's `model_id`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from antiphon.errors import PreconditionError
from antiphon_cloud.checkpoint.conditions import listed
from antiphon_cloud.checkpoint.directory import ModelDirectory

FOLDER, SOUND = "voices", ".wav"
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


def require_voices(chosen: Sequence[str], known: Sequence[str], most: int) -> None:
    """Checks what a session chooses.

    Args:
        chosen: names.
        known: those that there are.
        most: voices at once; 0 for a model that takes none.

    Raises:
        PreconditionError: there is no such voice, or they are too many.
    """
    if len(chosen) > most:
        takes = f"takes {most} at most" if most else "takes none; leave them out"
        raise PreconditionError(f"{len(chosen)} voices: this model {takes}")
    for name in chosen:
        if name.removesuffix(SOUND) not in known:
            raise no_such_voice(name, known)


def no_such_voice(name: str, known: Sequence[str]) -> PreconditionError:
    """The error that names some voices that there are."""
    has = f"take {listed(known)}" if known else f"it has none; put some into {FOLDER}/ of the model directory"
    return PreconditionError(f"voice {name[:LONGEST_NAME]!r}: this model has none of the name; {has}")


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
