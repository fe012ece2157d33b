"""Opens files of untrusted folders. Opening a pipe or a device there could hang the reader, or worse."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """Opens `path` for reading in binary.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 -- pathlib has no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The bytes of `path`.

    Raises:
        OSError: it cannot be read, is not a regular file, or holds more than `max_bytes`.
    """
    with open_regular(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes", str(path))
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe without blocking; does not open devices."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 -- a path as `open` hands it on
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # if it is replaced in between
