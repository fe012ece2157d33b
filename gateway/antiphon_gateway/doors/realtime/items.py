"""The names of a session, and the order of its items, to which both sides add. Without I/O."""

from __future__ import annotations

import itertools
import secrets
from collections import deque

MOST_KEPT = 64  # items that may follow one that is deleted; clients that hear of an older one put theirs at the end


class Ids:
    """Names that are unique within a session, and not guessed from without."""

    def __init__(self) -> None:
        self._session = secrets.token_hex(6)
        self._numbers = itertools.count()
        self._items: deque[str] = deque(maxlen=MOST_KEPT)

    def new(self, kind: str) -> str:
        """The next one, such as `item_…`."""
        return f"{kind}_{self._session}{next(self._numbers):06d}"

    @property
    def last(self) -> str | None:
        """The conversation's last item; None where it has none."""
        return self._items[-1] if self._items else None

    def append(self, item: str) -> str | None:
        """An item comes into the conversation, at its end; the one before it, None for the first."""
        before = self.last
        self._items.append(item)
        return before

    def delete(self, item: str) -> None:
        """An item leaves it; nothing happens where it is not there."""
        if item in self._items:
            self._items.remove(item)
