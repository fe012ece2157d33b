"""Adapters' files read into the places of a model's store, matrix by matrix."""

from __future__ import annotations

import logging

from antiphon.errors import AntiphonError
from antiphon_cloud.checkpoint.adapter import AdapterFile
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles, AdapterPaths
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.model.adapters import AdapterStore
from antiphon_cloud.model.config import ModelConfig

logger = logging.getLogger(__name__)

USUAL_RANK = 64


class AdapterLoading:
    """Reads an adapter into a place, a matrix at a time, so that steps go on meanwhile.

    Args:
        store: where it goes.
        place: that nobody is stepped with.
        paths: of its files.
        config: of the model.
    """

    def __init__(self, store: AdapterStore, place: int, paths: AdapterPaths, config: ModelConfig) -> None:
        self._store, self._place, self._paths, self._config = store, place, paths, config
        self._file: AdapterFile | None = None
        self._error: Exception | None = None
        self._left: list[str] = list(store.by_name)
        self.sha256 = b""
        """Of the adapter, once it has begun to load."""

    @property
    def left(self) -> int:
        """Matrices still to do."""
        return len(self._left)

    def advance(self) -> None:
        """Does one matrix that the adapter has factors for, and those before it that it has none for.

        Raises:
            CheckpointError: the file is damaged, or not an adapter of this model, or larger than there is room for.
            ConfigError: its settings mean nothing.
        """
        if self._error is not None:  # another session has met it
            raise self._error
        try:
            self._advance(self._file or self._open())
        except Exception as error:  # of any kind: half an adapter is none
            self._error = error
            raise
        finally:
            if self._file is not None and (self._error is not None or not self._left):
                self._file.close()

    def _advance(self, file: AdapterFile) -> None:
        while self._left:
            name = self._left.pop()
            factors = self._store.by_name[name]
            if name in file.matrices:
                factors.put(self._place, *file.read(name))
                return
            factors.put(self._place, None, None)

    def _open(self) -> AdapterFile:
        file, room = AdapterFile(self._paths, self._config), self._store.room
        if file.rank > room.rank:
            file.close()
            raise CheckpointError(
                f"{self._paths.weights}: of rank {file.rank}, where this worker has room for {room.rank}; start "
                f"it with --adapter-rank {file.rank}"
            )
        self._file, self.sha256 = file, file.sha256
        return file


class Adapters:
    """Loads adapters into the places of one model's store.

    Args:
        store: whose places they are.
        config: of the model.
    """

    def __init__(self, store: AdapterStore, config: ModelConfig) -> None:
        self._store, self._config = store, config

    def load(self, place: int, paths: AdapterPaths) -> AdapterLoading:
        """What brings an adapter into a place, over the one that nobody is stepped with any more."""
        return AdapterLoading(self._store, place, paths, self._config)


def largest_rank(files: AdapterFiles, config: ModelConfig) -> int:
    """Of the adapters that are there and fit the model; `USUAL_RANK` where there are none."""
    ranks = []
    for name in files.names():
        try:
            with AdapterFile(files.find(name), config) as file:
                ranks.append(file.rank)
        except AntiphonError as error:
            logger.warning("adapter %s cannot be used: %s", name, error)
    return max(ranks, default=USUAL_RANK)
