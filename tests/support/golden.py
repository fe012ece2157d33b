"""The golden models as a user has them: what two of them share lies in the tree once and is put together here.

Where a whole file is shared, `tests/golden` holds a link. `moshi-tiny-q8` holds the tensors that are its own, int8
matrices and their scales; those that int8 leaves alone are moshi-tiny's.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

STORED = Path(__file__).parent.parent / "golden"
INT8, FLOATS = "moshi-tiny-q8/model.q8.safetensors", "moshi-tiny/model.safetensors"


def complete(folder: Path) -> Path:
    """Makes `folder` what `tests/golden` stands for, by links where it can, and returns it."""
    for file in STORED.glob("*/*"):
        link = folder / file.relative_to(STORED)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(file.resolve())
    own, shared = load_file(STORED / INT8), load_file(STORED / FLOATS)
    (folder / INT8).unlink()
    save_file({name: own.get(name, value) for name, value in shared.items()} | own, folder / INT8)
    return folder


def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="antiphon-golden-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return complete(folder)


GOLDEN = _made()
"""The folder of the cases, for as long as this process lives."""
