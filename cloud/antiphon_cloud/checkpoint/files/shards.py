"""Weights in several safetensors files, listed by an index beside them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from antiphon_cloud.checkpoint.files.other_formats import refuse_other_format
from antiphon_cloud.errors import CheckpointError

INDEX_SUFFIX = ".index.json"
MOST_INDEX_BYTES = 64 << 20
MOST_SHARDS = 512


class _Index(msgspec.Struct):
    weight_map: dict[str, str]  # tensor → file


def shards(index: Path) -> tuple[Path, ...]:
    """The files that an index names, sorted by name.

    Raises:
        CheckpointError: the index is damaged, or names a file that is missing or not beside it.
    """
    refuse_other_format(index)
    try:
        if index.stat().st_size > MOST_INDEX_BYTES:
            raise CheckpointError(f"{index}: larger than any index of a model; download it again")
        names = sorted(set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values()))
    except OSError as error:
        raise CheckpointError(f"{index}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise CheckpointError(f"{index}: not an index of safetensors files ({error}); download it again") from error
    if not 0 < len(names) <= MOST_SHARDS:
        raise CheckpointError(f"{index}: names {len(names)} files, where a model has 1 to {MOST_SHARDS}")
    for name in names:
        path = index.with_name(name) if name and Path(name).name == name else None
        if path is None or path.suffix != ".safetensors":
            raise CheckpointError(f"{index}: names {name[:80]!r}, which is no .safetensors file beside it")
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; {index.name} names it: download the missing part")
        refuse_other_format(path)
    return tuple(index.with_name(name) for name in names)
