"""Which adapter is in which place of the stepper's memory: the event loop's account, by which sessions get theirs.

An adapter stays in its place when its last session has ended. Another one that is asked for takes a place that has
none, then that of one whose file is gone or is another one by now, then that of the one that was asked for longest ago.
A file that changes is another adapter: who asks for it now gets another place, and who has the old one keeps it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from antiphon.errors import PreconditionError
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles, AdapterPaths
from antiphon_cloud.engine.messages import Adapter


@dataclass(slots=True, eq=False)
class _Held:
    """What is in a place, or on its way there."""

    name: str
    state: object  # of its files when they were read
    rows: set[int] = field(default_factory=set)  # whose sessions have it
    used: int = 0  # grows with every session that asks for it


class AdapterAccount:
    """The account.

    Args:
        files: where adapters are looked for; None where the worker has none.
        places: of the stepper's memory.
    """

    def __init__(self, files: AdapterFiles | None = None, places: int = 0) -> None:
        self._files = files
        self.places = places
        self._held: dict[int, _Held] = {}  # by place
        self._uses = itertools.count(1)

    def names(self) -> list[str]:
        """Of the adapters that a session may have."""
        return [] if self._files is None else self._files.names()

    def has_room(self, name: str) -> bool:
        """Whether a session may have the adapter now: it is in a place, or a place has none that a session has.

        Raises:
            PreconditionError: there is no such adapter.
        """
        paths = self._find(name)
        return self._place_of(name, paths) is not None or self._free() is not None

    def frees(self, row: int) -> bool:
        """Whether a place comes free when the row's session ends."""
        return any(held.rows == {row} for held in self._held.values())

    def begin(self, row: int, name: str, sha256: bytes) -> Adapter:
        """Gives a row's session its adapter, for which there is room.

        Args:
            row: of the batch.
            name: of the adapter.
            sha256: that it had when the session began; empty for a new session.

        Raises:
            PreconditionError: the adapter's files have gone just now.
        """
        paths = self._find(name)
        place = self._place_of(name, paths)
        fresh = place is None
        if place is None:
            place = self._free()
            assert place is not None, "whoever begins asks first"
            self._held[place] = _Held(name, paths.state)
        held = self._held[place]
        held.rows.add(row)
        held.used = next(self._uses)
        return Adapter(place, name, str(paths.weights), str(paths.settings), fresh, sha256)

    def end(self, row: int) -> None:
        """The row's session has ended; nothing happens where it had no adapter."""
        for held in self._held.values():
            held.rows.discard(row)

    def failed(self, place: int) -> None:
        """What was to be in the place could not be read: for whoever asks next it is tried again."""
        self._held[place].state = None

    def _find(self, name: str) -> AdapterPaths:
        if self._files is None:
            raise PreconditionError(
                f"open.adapter: this worker has no adapters, {name[:64]!r} neither; start it with --adapters-dir or "
                "--adapter"
            )
        return self._files.find(name)

    def _place_of(self, name: str, paths: AdapterPaths) -> int | None:
        """Where the adapter is, as its files are now."""
        wanted = (name, paths.state)
        return next((place for place, held in self._held.items() if (held.name, held.state) == wanted), None)

    def _free(self) -> int | None:
        """The place that is the least loss; None where sessions have all of them."""
        for place in range(self.places):
            if place not in self._held:
                return place
        unused = [place for place, held in self._held.items() if not held.rows]
        return min(unused, key=lambda place: (self._is_current(place), self._held[place].used), default=None)

    def _is_current(self, place: int) -> bool:
        """Whether who asks for the adapter of that name would get the one in the place."""
        held = self._held[place]
        try:
            return held.state == self._find(held.name).state
        except PreconditionError:
            return False
