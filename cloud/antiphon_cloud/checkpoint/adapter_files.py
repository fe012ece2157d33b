"""Which adapters a worker can be asked for, and their files. Without torch: both processes of a worker look.

An adapter NAME is `NAME.safetensors`, with its settings in `NAME.json` where it has any, or a folder `NAME` of a
`lora.safetensors` and a `config.json`, as moshi-finetune writes them. The folders are looked at whenever somebody asks,
so that adapters come and go without a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.errors import PreconditionError
from antiphon_cloud.errors import ConfigError

FOLDER = "adapters"  # in a model directory
WEIGHTS, SETTINGS = "lora.safetensors", "config.json"  # in an adapter's folder
SUFFIX = ".safetensors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHOWN_NAMES = 8

FileState = tuple[int, int, int, int]  # inode, size, and times of change in nanoseconds


@dataclass(frozen=True, slots=True)
class AdapterPaths:
    """The files of one adapter."""

    weights: Path
    settings: Path  # need not exist

    @classmethod
    def of(cls, path: Path) -> AdapterPaths:
        """Those of a safetensors file, or of a folder."""
        if path.is_dir():
            return cls(path / WEIGHTS, path / SETTINGS)
        return cls(path, path.with_suffix(".json"))

    @property
    def state(self) -> tuple[FileState | None, FileState | None]:
        """By which a change of the files is noticed; None for a file that is not there."""
        return _state(self.weights), _state(self.settings)


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """Where a worker looks for adapters."""

    folders: Sequence[Path] = ()  # the first that has a name counts
    named: Mapping[str, Path] = field(default_factory=dict)  # these come before all folders

    @classmethod
    def given(cls, model: Path, folder: Path | None, named: Sequence[str]) -> AdapterFiles | None:
        """Those of a worker's options; None where it has none, nor the model a folder of them.

        Args:
            model: the model directory.
            folder: of `--adapters-dir`.
            named: NAME=PATH each, of `--adapter`.

        Raises:
            ConfigError: one of them is no NAME=PATH, or there is nothing at the path.
        """
        folders = [each for each in (folder, model / FOLDER) if each is not None and each.is_dir()]
        if folder is not None and folder not in folders:
            raise ConfigError(f"--adapters-dir {folder}: no such directory")
        paths = {}
        for each in named:
            name, equals, path = each.partition("=")
            if not equals or not NAME.fullmatch(name):
                raise ConfigError(
                    f"--adapter {each}: expected NAME=PATH, the name of letters, digits, '.', '_' and '-'"
                )
            paths[name] = Path(path)
            if not AdapterPaths.of(paths[name]).weights.is_file():
                raise ConfigError(f"--adapter {each}: no such file, nor a folder with a {WEIGHTS}")
        return cls(folders, paths) if folders or paths else None

    def names(self) -> list[str]:
        """Of all adapters that are there now, in order."""
        return sorted(self._found())

    def find(self, name: str) -> AdapterPaths:
        """The files of an adapter.

        Raises:
            PreconditionError: there is none of that name; the message has some that there are.
        """
        found = self._found()
        if name not in found:
            names = sorted(found)
            more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
            there = f"there are {', '.join(names[:SHOWN_NAMES])}{more}" if names else "there are none"
            raise PreconditionError(f"open.adapter: no adapter {name[:64]!r} is here; {there}")
        return AdapterPaths.of(found[name])

    def _found(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in reversed(self.folders):
            found |= dict(_adapters_in(folder))
        return found | dict(self.named)


def _adapters_in(folder: Path) -> Iterator[tuple[str, Path]]:
    with suppress(OSError):  # it has gone, or cannot be read: nothing is in it
        for path in folder.iterdir():
            name = path.name.removesuffix(SUFFIX)
            if NAME.fullmatch(name) and (path.is_file() if path.suffix == SUFFIX else (path / WEIGHTS).is_file()):
                yield name, path


def _state(path: Path) -> FileState | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
