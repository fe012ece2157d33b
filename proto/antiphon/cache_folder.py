"""Where both sides keep files that they can fetch or make again: one root with a folder for each kind.

The root is the caller's, else ANTIPHON_CACHE, else `antiphon` in the user's cache folder.

Needs platformdirs.
"""

from __future__ import annotations

import atexit
import errno
import functools
import logging
import os
import shutil
import tempfile
from enum import Enum
from pathlib import Path

import platformdirs

VARIABLE = "ANTIPHON_CACHE"

logger = logging.getLogger(__name__)


class Kind(Enum):
    """What is kept; the value names the folder."""

    PULLED_CODECS = "codecs"
    EXPORTED_CODECS = "exported"
    NATIVE = "native"
    FINGERPRINTS = "fingerprints"
    VOICES = "voices"


def cache_root(root: Path | None = None) -> Path | None:
    """`root`, or the default root where it is None; None if this user has no home."""
    if root is not None:
        return root
    if named := os.environ.get(VARIABLE):
        return Path(named)
    try:
        users = Path(platformdirs.user_cache_dir("antiphon"))
    except RuntimeError:  # newer releases raise it without a home
        return None
    return users if users.is_absolute() else None  # else an unresolved "~", or against the XDG specification


def cache_folder(kind: Kind, root: Path | None = None) -> Path:
    """A writable folder, created if it is missing.

    If no root is named and the user's cache folder cannot be written (a read-only home, or none), the folder lasts
    only as long as this process, and the log says so.

    Raises:
        OSError: the named root cannot be written.
    """
    found = cache_root(root)
    try:
        if found is None:
            raise OSError(errno.ENOENT, "there is no home folder")
        folder = found / kind.value
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_writable(folder):
            raise OSError(errno.EACCES, "it cannot be written", str(folder))
    except OSError as error:
        if root is not None or os.environ.get(VARIABLE):
            raise
        logger.warning(
            "nothing can be kept in %s (%s): what is fetched or made lasts as long as this process; %s names another "
            "folder",
            found or "the user's cache", error.strerror, VARIABLE,
        )  # fmt: skip
        folder = _scratch() / kind.value
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def is_writable(folder: Path) -> bool:
    """Whether files can be created in an existing folder."""
    return os.access(folder, os.W_OK | os.X_OK)


@functools.cache
def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="antiphon-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
