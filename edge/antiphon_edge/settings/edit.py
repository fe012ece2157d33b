"""Changes a file of settings: what it does not change, comments included, stays as the person has written it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon.cli.output_file import output_file
from antiphon.cli.settings_file import Settings, SettingsError, value_end

Value = str | int | float | bool


def write_settings(settings: Settings, changes: Mapping[str, Value | None]) -> None:
    """Replaces the file at once and whole, for its owner alone to read: it may hold an API key.

    Args:
        settings: the file as it was read.
        changes: by key at the top; None takes the key out.

    Raises:
        SettingsError: a value is no text that a file can hold, or the file is written in a way that cannot be changed.
        OutputFileError: it cannot be written.
    """
    text = changed(settings, changes)
    _make_folder(settings.path.parent)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{settings.path}: holds UTF-8, and an answer is none: give it in letters") from None
    with output_file(settings.path, private=True) as file:
        file.write(data)


def changed(settings: Settings, changes: Mapping[str, Value | None]) -> str:
    """The text with the changes in it.

    Raises:
        SettingsError: it has a key in a way that this does not understand.
    """
    wanted: dict[str, Any] = dict(settings.values)
    lines = settings.text.splitlines()
    for key, value in changes.items():
        if value == wanted.get(key) and type(value) is type(wanted.get(key)):
            continue
        new = [] if value is None else [f"{key} = {_literal(value)}"]
        lines = _with(lines, key, new)
        wanted.pop(key, None)
        if value is not None:
            wanted[key] = value
    text = "\n".join(lines) + "\n"
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        read = {}
    if read != wanted:
        raise SettingsError(f"{settings.path}: is written in a way that setup cannot change; change it by hand")
    return text


def _with(lines: list[str], key: str, new: list[str]) -> list[str]:
    """The lines with `new` in the place of the key's, or after the last key at the top."""
    written = re.compile(rf"\s*(?:{re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')\s*=")
    top = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    end = value_end("\n".join(lines), (key,))
    begin = None if end is None else next((at for at in range(end) if written.match(lines[at])), None)
    if begin is not None:
        return [*lines[:begin], *new, *lines[end:]]
    while top and top < len(lines) and not lines[top - 1].strip():
        top -= 1  # before the empty lines that stand before a table
    return [*lines[:top], *new, *lines[top:]]


def _literal(value: Value) -> str:
    """The value in TOML: its strings are those of JSON, but for a character that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{folder}: cannot be made ({error.strerror}); name a file elsewhere with --config"
        ) from None
