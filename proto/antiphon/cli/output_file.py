"""Writes files atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from antiphon.errors import AntiphonError


class OutputFileError(AntiphonError):
    """The file cannot be written."""


@contextmanager
def output_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file that replaces `path` when the block ends without an error; otherwise `path` stays as it was.

    It is created at once, so that no work is done for a result that cannot be kept.

    Args:
        path: of the result.
        private: it is for its owner alone to read, and on the disk when the block has ended.

    Raises:
        OutputFileError: it cannot be created, or (when the block ends) the disk is full.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written directly; a folder fails
            with path.open("wb") as file:
                yield file
            return
        whole = path.resolve()
        partial = whole.with_name(f".{whole.name}.{os.getpid()}")
        try:
            with open(partial, "xb", opener=_for_the_owner if private else None) as file:
                yield file
                if private:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(whole)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputFileError(f"{path}: cannot be written ({error.strerror}); choose another path") from error


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
