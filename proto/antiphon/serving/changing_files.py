"""What a server makes of files that its operator replaces while it runs: certificates, API keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from antiphon.errors import AntiphonError

logger = logging.getLogger(__name__)

T = TypeVar("T")

CERTIFICATE_STAYS = "the new certificate cannot be used, the old one stays"

Stamp = tuple[tuple[int, int, int, int] | None, ...]  # of each file: modification in ns, inode, bytes, who may use it


class ChangingFiles(Generic[T]):
    """What was made of files, made again when one of them is written, replaced or gone.

    Files that cannot be used are logged once, and what was made of them before stays.

    Args:
        paths: of the files.
        read: makes it; raises AntiphonError.
        stays: what the log says of files that cannot be used, such as "the old API keys stay".

    Raises:
        AntiphonError: the files cannot be used now.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T], stays: str) -> None:
        self._paths, self._read, self._stays = tuple(paths), read, stays
        self._stamp = self._look()
        self.value = read()
        """The newest that could be made."""

    def follow(self) -> bool:
        """Looks at the files, and returns whether `value` is another one; some microseconds where nothing changed."""
        if (stamp := self._look()) == self._stamp:
            return False
        self._stamp = stamp
        return self.reload()

    def reload(self) -> bool:
        """Reads the files, changed or not, and returns whether they could be used."""
        try:
            self.value = self._read()
        except AntiphonError as error:
            logger.error("%s: %s", self._stays, error)
            return False
        return True

    def _look(self) -> Stamp:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
