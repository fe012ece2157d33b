"""Locates a model's tensors in its files, and checks them before any is read.

Published files hold the same matrices fused or split, and a model in one or several files. Callers ask for tensors by
the model's own names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from antiphon_cloud.checkpoint.files.other_formats import refuse_other_layout
from antiphon_cloud.checkpoint.files.tensor_file import TensorFile
from antiphon_cloud.errors import CheckpointError

_FLOATS = ("BF16", "F16", "F32")
_PROJECTION = re.compile(r"(.*\.(?:self_attn|cross_attention)\.)(in|out)_projs\.(\d+)\.(.*)")
_CROSS = re.compile(r"(.*\.cross_attention\.)([qkv])_proj\.weight")  # in files a third of one tensor each


@dataclass(frozen=True, slots=True)
class WeightSource:
    """A tensor of the model's files, or one of the equal parts stacked in it."""

    files: Mapping[str, TensorFile]  # by tensor name: a companion may be in another file
    name: str
    part: int = 0
    parts: int = 1

    def read(self, suffix: str = "") -> Tensor:
        """The tensor, or its companion with this suffix, as the file holds it."""
        name = self.name + suffix
        return self.files[name].read(name, self.part, self.parts)


class WeightFiles:
    """The open safetensors files of one model; tensors are located by the model's names.

    Args:
        files: the model's.
        shapes: of all tensors that the files hold if they are the model's, those that nobody locates among them.
    """

    def __init__(self, files: Sequence[TensorFile], shapes: Mapping[str, tuple[int, ...]]) -> None:
        for file in files:
            refuse_other_layout(file.path, file.tensors)
        self._path = files[0].path  # named in the error for a missing tensor
        self._files = {name: file for file in files for name in file.tensors}
        self._used: set[str] = set()
        self._known = shapes.keys()
        projections = filter(None, map(_PROJECTION.fullmatch, shapes))
        self._sets = Counter(match[1] for match in projections if match.group(2, 4) == ("out", "weight"))

    def has(self, name: str) -> bool:
        """Whether a file holds the tensor, alone or within a fused one."""
        return self._place(name)[0] in self._files

    def locate(self, name: str, shape: tuple[int, ...], quantized: bool = False) -> WeightSource:
        """Where the tensor is.

        Raises:
            CheckpointError: it is missing, has another shape, or is neither float nor, if `quantized`, int8.
        """
        found, part, parts = self._place(name)
        rows = shape[0] * parts
        self._check(found, (rows, *shape[1:]), ("I8",) if quantized else _FLOATS)
        if quantized:
            self._check(found + "_scb", (rows,), ("F32",))
        return WeightSource(self._files, found, part, parts)

    def refuse_rest(self) -> None:
        """Raises CheckpointError if a file holds a tensor that was never located, and that the model does not have."""
        rest = sorted(self._files.keys() - self._used - self._known)
        if rest:
            more = f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""
            path = self._files[rest[0]].path
            raise CheckpointError(f"{path}: {rest[0]}: unexpected{more}; config.json describes a model without it")

    def _place(self, name: str) -> tuple[str, int, int]:
        """The name of the tensor or of its fused projection, the part's index and the number of parts."""
        match = _PROJECTION.fullmatch(name)
        if match and name not in self._files:
            prefix, kind, part, rest = match.groups()
            for fused in (f"{prefix}{kind}_proj.{rest}", f"{prefix}{kind}_proj_{rest}"):
                if fused in self._files:
                    return fused, int(part), self._sets[prefix]
        if (match := _CROSS.fullmatch(name)) and name not in self._files:
            names = [f"{match[1]}{kind}" for kind in ("in_proj_weight", "in_proj.weight", "in_projs.0.weight")]
            fused = next((each for each in names if each in self._files), names[0])
            return fused, "qkv".index(match[2]), 3
        return name, 0, 1

    def _check(self, name: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
        file = self._files.get(name)
        if file is None:
            raise CheckpointError(f"{self._path}: {name}: missing; expected {_shown(shape)} of {' or '.join(dtypes)}")
        held = file.tensors[name]
        if held.shape != shape:
            raise CheckpointError(f"{file.path}: {name}: expected shape {_shown(shape)}, found {_shown(held.shape)}")
        if held.dtype not in dtypes:
            raise CheckpointError(
                f"{file.path}: {name}: expected {' or '.join(dtypes)}, found {held.dtype}; "
                "is quantize in config.json right?"
            )
        self._used.add(name)


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
