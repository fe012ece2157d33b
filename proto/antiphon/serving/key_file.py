"""The file of API keys: TOML, of their hashes and their clients.

    [keys.kitchen]
    sha256 = "9f86d081884c7d65..."   # of the key, or a list while an old and a new one are in use; keys are nowhere
    sessions = 2                     # at once; as --client-sessions where absent
    opens_per_minute = 30            # as --client-opens-per-minute where absent
    expires = 2027-01-01T00:00:00Z   # from then on its keys let nobody in; never where absent

Whoever can write the file makes keys, so one that everybody may write is refused. Whoever can read it learns names and
hashes that open nothing, so one that everybody may read is only warned of: volumes are often mounted so.

A key is 256 random bits, so there is nothing to guess and one round of SHA-256 is as good as a slow hash made for
passwords; it costs a microsecond of every call instead of milliseconds.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import msgspec

from antiphon.errors import AntiphonError, UnauthenticatedError
from antiphon.serving.changing_files import ChangingFiles

logger = logging.getLogger(__name__)

T = TypeVar("T")

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # TOML's bare keys


class KeyFileError(AntiphonError):
    """A file of API keys that cannot be read or written."""


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[keys.NAME]` table."""

    sha256: Hash | Annotated[list[Hash], msgspec.Meta(min_length=1)]
    sessions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    opens_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @property
    def hashes(self) -> list[str]:
        """Of all its keys."""
        return [self.sha256] if isinstance(self.sha256, str) else self.sha256

    @property
    def expires_s(self) -> float | None:
        """When its keys expire, in seconds since 1970."""
        return None if self.expires is None else self.expires.timestamp()


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, KeyEntry] = {}


def digest(key: str) -> str:
    """The hash of a key in the file."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()  # headers may hold any bytes


def read_key_file(path: Path) -> dict[str, KeyEntry]:
    """The entries of a key file by name.

    Raises:
        KeyFileError: it cannot be read or is invalid; the message says where.
    """
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    if mode & stat.S_IWOTH and stat.S_ISREG(mode):
        raise KeyFileError(f"{path}: everybody may write it, and so make keys: chmod 600 it")
    try:
        return msgspec.toml.decode(text, type=_KeyFile).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: is no file of API keys: {error}") from None


class KeyFile(Generic[T]):
    """The keys of a file, read again when it changes. An invalid file is logged, and the old keys stay.

    Args:
        path: the file.
        client_of: the client of a key's name and table, and whether it is the only name.
        server: what asks for keys, in a refusal.
        how: to give it one.
        wall: seconds since 1970.

    Raises:
        KeyFileError: the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        client_of: Callable[[str, KeyEntry, bool], T],
        server: str,
        how: str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._client_of = client_of
        self._server, self._how = server, how
        self._wall = wall
        self._clients = ChangingFiles([path], self._read, "the old API keys stay")
        self._warn()

    def client(self, key: str | None) -> T:
        """The client of `key`; reads the file first if it has changed.

        Raises:
            UnauthenticatedError: there is no such key, or it has expired.
        """
        if self._clients.follow():
            self._log()
        if key is None:
            raise UnauthenticatedError(f"this {self._server} asks for an API key: give one {self._how}")
        # Lookup by hash: its timing reveals at most something of a hash, which nobody can choose.
        found = self._clients.value.get(digest(key))
        if found is None:
            raise UnauthenticatedError(f"this {self._server} does not know the API key: ask its operator for another")
        client, expires_s = found
        if expires_s is not None and self._wall() >= expires_s:
            raise UnauthenticatedError(f"the API key has expired: ask the {self._server}'s operator for another")
        return client

    def reload(self) -> None:
        """Reads the file again, changed or not."""
        if self._clients.reload():
            self._log()

    def _log(self) -> None:
        logger.info("read %d API keys", len(self._clients.value))
        self._warn()

    def _warn(self) -> None:
        with suppress(OSError):  # it is being replaced, and will be looked at again
            if self._path.stat().st_mode & stat.S_IROTH:
                logger.warning("%s: everybody may read it, and so learn who has keys: chmod 600 it", self._path)

    def _read(self) -> dict[str, tuple[T, float | None]]:
        """The clients and when their keys expire, by hash."""
        clients: dict[str, tuple[T, float | None]] = {}
        for name, entry in (entries := read_key_file(self._path)).items():
            client = self._client_of(name, entry, len(entries) == 1)
            clients |= dict.fromkeys(entry.hashes, (client, entry.expires_s))
        return clients
