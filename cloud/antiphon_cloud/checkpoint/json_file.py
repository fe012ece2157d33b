"""Reads JSON files that describe models, and checks every key, type and bound.

An unknown key, or a value that Antiphon does not support, is an error that names it: a model that runs with a setting
ignored is a different model. Types and bounds are msgspec's (`msgspec.Meta`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from antiphon_cloud.checkpoint.files.other_formats import LFS_ADVICE, LFS_POINTER
from antiphon_cloud.errors import ConfigError

T = TypeVar("T")
LONGEST_SHOWN = 60  # characters of a value in a message


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        ConfigError: the file cannot be read, or holds no JSON object.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    if data.startswith(LFS_POINTER):
        raise ConfigError(f"{path}: {LFS_ADVICE}")
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from error
    return as_object(raw, str(path))


def as_object(value: Any, where: str) -> dict[str, Any]:
    """The value as a JSON object.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def convert(values: Mapping[str, Any], kind: type[T], where: str) -> T:
    """An object of `kind` (a dataclass or a `msgspec.Struct`) from a JSON object.

    Args:
        values: keys and values.
        kind: defines their types and bounds.
        where: the file's name and the path of the object in it, for messages.

    Raises:
        ConfigError: a value has another type or is out of bounds, or a required key is missing.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$")
        way = ": ".join(filter(None, (where, at.strip(".`"))))
        raise ConfigError(f"{way}: {message[:1].lower()}{message[1:]}") from error


def demand_only(
    values: Mapping[str, Any], supported: Mapping[str, tuple[Any, ...]], where: str, within: str = ""
) -> None:
    """Checks the keys with one supported value, or few spellings of it.

    Args:
        values: an object of the file.
        supported: each key's values.
        where: the file's name, for messages.
        within: the path of the object in the file, ending in a dot.

    Raises:
        ConfigError: a value is not among the supported ones.
    """
    for key, accepted in supported.items():
        if key in values and not any(is_same(values[key], one) for one in accepted):
            wanted = " or ".join(msgspec.json.encode(one).decode() for one in accepted)
            raise ConfigError(
                f"{where}: {within}{key}: {shown(values[key])} is not supported; Antiphon runs models with {wanted}"
            )


def is_same(value: Any, accepted: Any) -> bool:
    """Equality that keeps booleans and numbers apart."""
    return bool(value == accepted) and isinstance(value, bool) == isinstance(accepted, bool)


def shown(value: Any) -> str:
    """The value as JSON, shortened."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
