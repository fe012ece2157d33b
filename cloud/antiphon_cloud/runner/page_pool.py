"""The memory of keys and values in pages, and who has which: without I/O, and without torch.

Pages are counted by the worker before it admits a session, and handed out by the stepper. Both have a `PagePool` and
change it by the same messages in the same order (`engine.memory`), so that neither has to ask the other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolShape:
    """How memory is cut, and how much of it a session is promised."""

    pages: int  # that sessions may have
    page: int  # steps that one holds
    context: int  # steps that a session looks back to, where it has the pages
    promised: int  # pages of every session, from its first step on

    @classmethod
    def one_page_each(cls, slots: int, context: int) -> PoolShape:
        """Memory that slots do not share: each has a whole context of its own."""
        return cls(slots, context, context, 1)

    @classmethod
    def of(cls, slots: int, context: int, page: int, promise: int | None, pages: int | None = None) -> PoolShape:
        """Memory that slots share.

        Args:
            slots: sessions at most.
            context: of the model, in steps.
            page: steps of a page, of which none is larger than the context.
            promise: steps that a session is promised, which are filled up to whole pages; None for the context.
            pages: that memory holds; None for as many as whole contexts in all slots need, which are never exceeded.
        """
        page = min(page, context)
        full = -(-context // page)
        promised = full if promise is None else min(-(-max(promise, 1) // page), full)
        return cls(slots * full if pages is None else min(pages, slots * full), page, context, promised)

    @property
    def full(self) -> int:
        """Pages of a whole context."""
        return -(-self.context // self.page)

    def needed(self, steps: int) -> int:
        """Pages that hold the last `steps`, as far as the context goes; one at least."""
        return min(-(-max(steps, 1) // self.page), self.full)

    def window(self, pages: int) -> int:
        """Steps that a session with so many pages looks back to."""
        return min(pages * self.page, self.context)


class PagePool:
    """Who has which of the pages 1 to `pages`; page 0 is nobody's.

    Args:
        pages: of all.
        slots: that may have some.
    """

    def __init__(self, pages: int, slots: int) -> None:
        self._free = list(range(pages, 0, -1))  # a stack
        self._held: list[list[int]] = [[] for _ in range(slots)]

    @property
    def free(self) -> int:
        """Pages that no slot has."""
        return len(self._free)

    def count(self, slot: int) -> int:
        """Pages of the slot."""
        return len(self._held[slot])

    def held(self, slot: int) -> tuple[int, ...]:
        """The slot's pages, in the order of its ring."""
        return tuple(self._held[slot])

    def allow(self, slot: int, pages: int) -> tuple[int, ...]:
        """Lets the slot have so many pages and no more, and returns them; those that it has and keeps stay in place."""
        held = self._held[slot]
        assert pages - len(held) <= len(self._free), "whoever gives pages to a slot looks first whether there are any"
        while len(held) > pages:
            self._free.append(held.pop())
        while len(held) < pages:
            held.append(self._free.pop())
        return tuple(held)
