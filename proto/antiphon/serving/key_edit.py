"""Makes, lists and revokes the keys of a file of API keys, line by line, so that comments stay."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from antiphon.serving.key_file import NAME, KeyEntry, KeyFileError, digest, read_key_file

KEY_PREFIX = "antiphon_"  # so that scanners for leaked secrets, and people, know what they found
KEY_BYTES = 32
HASH_SHOWN = 12  # characters of a hash that tell it from others


def make_key(
    path: Path,
    name: str,
    sessions: int | None = None,
    opens_per_minute: float | None = None,
    expires: datetime | None = None,
    *,
    another: bool = False,
) -> str:
    """Adds a new key's hash to the file, which is created if missing for its owner alone, and returns the key.

    Args:
        path: the file.
        name: of the client.
        sessions: at once; None for what the server gives every client.
        opens_per_minute: likewise.
        expires: when its keys end; None for never.
        another: the name may have keys already, which stay; what is given of its limits takes the place of the old.

    Raises:
        KeyFileError: the name is taken or invalid, or the file cannot be read or written.
    """
    if not NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name for a key: use up to 64 letters, digits, - and _")
    before = read_key_file(path) if path.exists() else {}
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    given = KeyEntry(digest(key), sessions, opens_per_minute, expires)
    if name not in before:
        _append(path, _table(name, given))
        return key
    old = before[name]
    if not another:
        raise KeyFileError(
            f"{path}: there is a key named {name} already: revoke-key takes it out, --another gives it a second one"
        )
    entry = KeyEntry(
        [*old.hashes, digest(key)],
        old.sessions if sessions is None else sessions,
        old.opens_per_minute if opens_per_minute is None else opens_per_minute,
        old.expires if expires is None else expires,
    )
    _replace(path, name, entry, before)
    return key


def save_key(
    key_file: Path,
    path: Path,
    name: str,
    sessions: int | None = None,
    opens_per_minute: float | None = None,
    expires: datetime | None = None,
    *,
    another: bool = False,
) -> None:
    """As `make_key`, but writes the new key to a file that only its owner can read.

    Raises:
        KeyFileError: as `make_key`, or the file exists or cannot be written.
    """
    try:
        with os.fdopen(os.open(key_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            try:
                key = make_key(path, name, sessions, opens_per_minute, expires, another=another)
                file.write(key + "\n")
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


def revoke_key(path: Path, name: str, prefix: str | None = None) -> int:
    """Takes a name out of the file, or one of its keys, and returns how many keys it had.

    Args:
        path: the file.
        name: of the client.
        prefix: of the one key's hash; None for all of them.

    Raises:
        KeyFileError: there is no such name or key, or the file cannot be read or written.
    """
    before = read_key_file(path)
    if name not in before:
        raise KeyFileError(f"{path}: there is no key named {name}: list-keys shows those that there are")
    entry = before[name]
    gone = [each for each in entry.hashes if each.startswith(prefix or "")]
    if prefix is not None and len(gone) != 1:
        raise KeyFileError(f"{path}: {len(gone)} keys of {name} have a hash that begins with {prefix}: give one's")
    left = [each for each in entry.hashes if each not in gone]
    _replace(path, name, msgspec.structs.replace(entry, sha256=left) if left else None, before)
    return len(gone)


def _table(name: str, entry: KeyEntry) -> list[str]:
    """A table's lines."""
    hashes = entry.hashes
    lines = [f"[keys.{name}]"]
    if len(hashes) == 1:
        lines.append(f'sha256 = "{hashes[0]}"')
    else:
        lines += ["sha256 = [", *(f'    "{each}",' for each in hashes), "]"]
    if entry.sessions is not None:
        lines.append(f"sessions = {entry.sessions}")
    if (opens := entry.opens_per_minute) is not None:
        lines.append(f"opens_per_minute = {int(opens) if opens == int(opens) else opens!r}")
    if entry.expires is not None:
        lines.append(f"expires = {entry.expires.astimezone(UTC).isoformat().replace('+00:00', 'Z')}")
    return lines


def _append(path: Path, lines: list[str]) -> None:
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600), "a+") as file:
            file.write(("\n" if file.tell() else "") + "\n".join(lines) + "\n")
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def _replace(path: Path, name: str, entry: KeyEntry | None, before: Mapping[str, KeyEntry]) -> None:
    """Writes the file anew, at once and whole, with another table of a name, or none; its owner and mode stay."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        whole = path.resolve()
        lines = whole.read_text().splitlines()
        header = re.compile(rf"\s*\[\s*keys\s*\.\s*(?:{re.escape(name)}|\"{re.escape(name)}\")\s*\]")
        begin = next((at for at, line in enumerate(lines) if header.match(line)), len(lines))
        end = next((at for at in range(begin + 1, len(lines)) if lines[at].lstrip().startswith("[")), len(lines))
        kept = end
        while kept > begin + 1 and (not lines[kept - 1].strip() or lines[kept - 1].lstrip().startswith("#")):
            kept -= 1  # what stands before the next table is about that one
        new = _table(name, entry) if entry is not None else []
        text = "\n".join([*lines[:begin], *new, *lines[kept:]]).strip("\n") + "\n"
        status = whole.stat()
        partial = whole.with_name(f".{whole.name}.{os.getpid()}")
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
            with suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o777)
        wanted = {other: each for other, each in before.items() if other != name} | ({name: entry} if entry else {})
        if not _same(read_key_file(partial), wanted):
            raise KeyFileError(f"{path}: is written in a way that cannot be changed here; change it by hand")
        partial.replace(whole)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _same(read: Mapping[str, KeyEntry], wanted: Mapping[str, KeyEntry]) -> bool:
    def plain(entries: Mapping[str, KeyEntry]) -> dict[str, KeyEntry]:
        return {name: msgspec.structs.replace(each, sha256=each.hashes) for name, each in entries.items()}

    return plain(read) == plain(wanted)
