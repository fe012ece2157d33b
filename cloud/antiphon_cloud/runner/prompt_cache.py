"""Keys and values of prompts, kept for later sessions that begin with the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from torch import Tensor

Entries = Sequence[Tensor]
"""What `Ring.copy` makes."""


class PromptCache:
    """The prompts that were used last, as many as fit. One thread uses it.

    Args:
        most_bytes: of all that is kept; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Entries] = OrderedDict()  # the one that was used longest ago comes first
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Entries | None:
        """A prompt's entries; None where they are not kept."""
        if (entries := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return entries

    def make_room(self, size_bytes: int) -> bool:
        """Drops the prompts that were used longest ago until so many bytes more fit; False where they never will."""
        if size_bytes > self._most_bytes:
            return False
        while self.size_bytes + size_bytes > self._most_bytes:
            _, dropped = self._kept.popitem(last=False)
            self.size_bytes -= _size_bytes(dropped)
        return True

    def put(self, key: Hashable, entries: Entries) -> None:
        """Keeps a prompt that was not kept, after `make_room` for it."""
        assert key not in self._kept, "whoever copies entries looks first"
        self._kept[key] = entries
        self.size_bytes += _size_bytes(entries)
        assert self.size_bytes <= self._most_bytes, "whoever copies entries makes room first"


def _size_bytes(entries: Entries) -> int:
    return sum(tensor.nbytes for tensor in entries)
