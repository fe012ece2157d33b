"""The file of API keys: TOML, of their hashes and their clients.

    [keys.kitchen]
    sha256 = "9f86d081884c7d65..."   # of the key; the key itself is nowhere
    sessions = 2                     # at once; as --client-sessions where absent
    opens_per_minute = 30            # as --client-opens-per-minute where absent

A key is 256 random bits, so there is nothing to guess and one round of SHA-256 is as good as a slow hash made for
passwords; it costs a microsecond of every call instead of milliseconds.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from antiphon.errors import AntiphonError, UnauthenticatedError
from antiphon.serving.changing_files import ChangingFiles

logger = logging.getLogger(__name__)

T = TypeVar("T")

KEY_PREFIX = "antiphon_"  # so that scanners for leaked secrets, and people, know what they found
KEY_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # TOML's bare keys


class KeyFileError(AntiphonError):
    """A file of API keys that cannot be read or written."""


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[keys.NAME]` table."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    sessions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    opens_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, KeyEntry] = {}


def digest(key: str) -> str:
    """The hash of a key in the file."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_key_file(path: Path) -> dict[str, KeyEntry]:
    """The entries of a key file by name.

    Raises:
        KeyFileError: it cannot be read or is invalid; the message says where.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_KeyFile).keys
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: is no file of API keys: {error}") from None


def make_key(path: Path, name: str, sessions: int | None = None, opens_per_minute: float | None = None) -> str:
    """Adds a new key's hash to the file, which is created if missing, and returns the key.

    Raises:
        KeyFileError: the name is taken or invalid, or the file cannot be read or written.
    """
    if not NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name for a key: use up to 64 letters, digits, - and _")
    if path.exists() and name in read_key_file(path):
        raise KeyFileError(f"{path}: there is a key named {name} already: remove its table first, or use another name")
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    limits = {"sessions": sessions, "opens_per_minute": opens_per_minute}
    lines = [f"[keys.{name}]", f'sha256 = "{digest(key)}"']
    lines += [f"{limit} = {_toml(value)}" for limit, value in limits.items() if value is not None]
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600), "a+") as file:
            file.write(("\n" if file.tell() else "") + "\n".join(lines) + "\n")
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None
    return key


def save_key(key_file: Path, path: Path, name: str, **limits: Any) -> None:
    """As `make_key`, but writes the new key to a file that only its owner can read.

    Raises:
        KeyFileError: as `make_key`, or the file exists or cannot be written.
    """
    try:
        with os.fdopen(os.open(key_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            try:
                file.write(make_key(path, name, **limits) + "\n")
                file.flush()
            except BaseException:
                key_file.unlink()
                raise
    except FileExistsError:
        raise KeyFileError(
            f"{key_file}: there is such a file already: remove it, or choose another with --out"
        ) from None
    except OSError as error:
        raise KeyFileError(f"{key_file}: cannot be written: {error.strerror}") from None


def _toml(value: float) -> str:
    """A number in TOML; whole ones as integers, as a number of sessions must be."""
    return str(int(value)) if value == int(value) else repr(value)


class KeyFile(Generic[T]):
    """The keys of a file, read again when it changes. An invalid file is logged, and the old keys stay.

    Args:
        path: the file.
        client_of: the client of a key's name and table, and whether it is the only key.
        server: what asks for keys, in a refusal.
        how: to give it one.

    Raises:
        KeyFileError: the file cannot be used.
    """

    def __init__(self, path: Path, client_of: Callable[[str, KeyEntry, bool], T], server: str, how: str) -> None:
        self._path = path
        self._client_of = client_of
        self._server, self._how = server, how
        self._clients = ChangingFiles([path], self._read, "the old API keys stay")

    def client(self, key: str | None) -> T:
        """The client of `key`; reads the file first if it has changed.

        Raises:
            UnauthenticatedError: there is no such key.
        """
        if self._clients.follow():
            self._log()
        if key is None:
            raise UnauthenticatedError(f"this {self._server} asks for an API key: give one {self._how}")
        # Lookup by hash: its timing reveals at most something of a hash, which nobody can choose.
        found = self._clients.value.get(digest(key))
        if found is None:
            raise UnauthenticatedError(f"this {self._server} does not know the API key: ask its operator for another")
        return found

    def reload(self) -> None:
        """Reads the file again, changed or not."""
        if self._clients.reload():
            self._log()

    def _log(self) -> None:
        logger.info("read %d API keys", len(self._clients.value))

    def _read(self) -> dict[str, T]:
        entries = read_key_file(self._path)
        return {entry.sha256: self._client_of(name, entry, len(entries) == 1) for name, entry in entries.items()}
