"""Recognizes other programs' files of the same models, and says what to download instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from antiphon_cloud.errors import CheckpointError

PYTORCH = "download the model's PyTorch version, whose repository has no -mlx, -candle or -gguf in its name"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_ADVICE = "a Git LFS pointer, not the file itself; run git lfs pull in the repository, or download it again"
_HEAD_BYTES = 64

_LAYOUTS = {  # names that only one program's files have
    "MLX": re.compile(r"(audio_embs\.|depformer\.slices\.).*|.*\.(scales|biases)"),
    "candle": re.compile(r"depformer\.\d+\..*"),
    "the transformers library": re.compile(r"(decoder\.)?model\.(layers|embed_tokens)\..*|audio_encoder\..*"),
}


def refuse_other_format(path: Path) -> None:
    """Checks a file's first bytes.

    Raises:
        CheckpointError: it is a GGUF file or a Git LFS pointer.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return  # the reader of the file reports it
    if head.startswith(LFS_POINTER):
        raise CheckpointError(f"{path}: {LFS_ADVICE}")
    if head.startswith(b"GGUF"):
        raise CheckpointError(f"{path}: a GGUF file, as candle and llama.cpp read them; {PYTORCH}")


def refuse_other_layout(path: Path, names: Iterable[str]) -> None:
    """Checks the names of a file's tensors.

    Raises:
        CheckpointError: they are another program's.
    """
    for name in names:
        for program, pattern in _LAYOUTS.items():
            if pattern.fullmatch(name):
                raise CheckpointError(f"{path}: holds {name}, as the weights of {program} do; {PYTORCH}")


def instead_of(missing: Path) -> str:
    """Advice for missing weights when other files that look like weights are there."""
    try:
        names = sorted(path.name for path in missing.parent.iterdir())
    except OSError:
        names = []
    for name in names:
        if name.endswith((".gguf", ".npz")) or re.search(r"\.q[2-6]\.safetensors$", name):
            return f"{name} is beside it, which is for candle or MLX: {PYTORCH}"
        if re.fullmatch(r"consolidated\.safetensors|model\.q8\.safetensors", name):
            how = ' and "quantize": true' if ".q8." in name else ""
            return f'{name} is beside it: to load that, write "moshi_name": "{name}"{how} into config.json'
    return ""
