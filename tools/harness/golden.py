"""The golden models as a user has them: what they share, or what shrinks, is put together here.

Where a whole file is shared, `tests/golden` holds a link; weights lie there as `.xz`. `moshi-tiny-q8` holds the tensors
that are its own, int8 matrices and their scales; those that int8 leaves alone are moshi-tiny's.
"""

from __future__ import annotations

import argparse
import atexit
import lzma
import shutil
import tempfile
from functools import cache
from pathlib import Path

from safetensors.torch import load_file, save_file

from tools import ROOT

STORED = ROOT / "tests/golden"
INT8, FLOATS = "moshi-tiny-q8/model.q8.safetensors", "moshi-tiny/model.safetensors"


@cache
def golden() -> Path:
    """The folder of the cases, for as long as this process lives. Read only: it is shared."""
    folder = Path(tempfile.mkdtemp(prefix="antiphon-golden-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return complete(folder)


def complete(folder: Path) -> Path:
    """Makes `folder` what `tests/golden` stands for, by links where it can, and returns it."""
    for file in sorted(STORED.rglob("*")):
        made = folder / file.relative_to(STORED)
        if file.is_dir():
            made.mkdir()
        elif file.suffix == ".xz":
            made.with_suffix("").write_bytes(lzma.decompress(file.read_bytes()))
        else:
            made.symlink_to(file.resolve())
    own, shared = load_file(folder / INT8), load_file(folder / FLOATS)
    (folder / INT8).unlink()
    save_file({name: own.get(name, value) for name, value in shared.items()} | own, folder / INT8)
    return folder


def main() -> None:
    """Puts the cases together in a folder that does not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True)
    complete(folder)


if __name__ == "__main__":
    main()
