"""A file of settings: TOML, whose keys are flags without their dashes.

    listen = "0.0.0.0:50051"
    log-level = "info"

    [serve]
    slots = 8

At the top a key is the default of every command with that flag, in a table that of the one command with the table's
name.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antiphon.errors import AntiphonError
from antiphon.regular_file import read_regular

MAX_BYTES = 65_536

Keys = tuple[str, ...]
"""Where a value stands: its key, after its table's where it has one."""


class SettingsError(AntiphonError):
    """A file of settings that cannot be read, or holds what no command knows."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A file that was read."""

    path: Path
    text: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def line(self, keys: Keys) -> int | None:
        """The line, from 1, on which the value at `keys` ends; None where it is not there."""
        return value_end(self.text, keys)

    def error(self, keys: Keys, problem: str) -> SettingsError:
        """What is wrong with the value at `keys`, with its place."""
        return SettingsError(f"{self.path}, line {self.line(keys)}: {problem}")


def read_settings(path: Path) -> Settings:
    """What the file holds; nothing where it is not there, or is /dev/null.

    Raises:
        SettingsError: it cannot be read, or is no TOML.
    """
    if str(path) == os.devnull:
        return Settings(path)
    try:
        text = read_regular(path, MAX_BYTES).decode()
    except FileNotFoundError:
        return Settings(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); name another file with --config") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: it is no UTF-8 text; write that line again") from None
    try:
        return Settings(path, text, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason, line = _reason("" if isinstance(error, RecursionError) else str(error), text)
        raise SettingsError(
            f'{path}, line {line}: {reason}; mend that line (text stands in quotes: key = "text")'
        ) from None


def value_end(text: str, keys: Keys) -> int | None:
    """The line, from 1, on which the value at `keys` ends; None where it is not there.

    It is the end of the shortest beginning of the text that is whole TOML and has the value.
    """
    lines = text.splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        try:
            value: Any = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return count
    return None


def _reason(message: str, text: str) -> tuple[str, int]:
    """What tomllib found, and on which line."""
    found = re.fullmatch(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    last = max(1, len(text.splitlines()))
    if found is None:
        return message or "it is nested too deeply", last
    reason = found[1][:1].lower() + found[1][1:]
    return reason, int(found[2]) if found[2] else last
