"""Pages and who has them: none in two slots, none lost, and each promise kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from antiphon_cloud.runner.page_pool import PagePool, PoolShape

SLOTS = 4
MOST = 6  # pages of a slot


class Pool(RuleBasedStateMachine):
    """A pool whose slots are let have pages, and lose them, in any order."""

    @initialize(pages=st.integers(0, SLOTS * MOST))
    def begin(self, pages: int) -> None:
        self.pages, self.pool = pages, PagePool(pages, SLOTS)
        self.allowed = [0] * SLOTS

    @rule(slot=st.integers(0, SLOTS - 1), pages=st.integers(0, MOST))
    def allow(self, slot: int, pages: int) -> None:
        before = self.pool.held(slot)
        if pages - len(before) > self.pool.free:
            with pytest.raises(AssertionError, match="looks first"):
                self.pool.allow(slot, pages)
            return
        kept = min(pages, len(before))
        assert self.pool.allow(slot, pages)[:kept] == before[:kept]  # a ring that grows stays where it is
        self.allowed[slot] = pages

    @precondition(lambda self: self.pool.free)
    @rule(slot=st.integers(0, SLOTS - 1))
    def grow(self, slot: int) -> None:
        self.allowed[slot] += 1
        self.pool.allow(slot, self.allowed[slot])

    @invariant()
    def each_page_is_in_one_place(self) -> None:
        held = [page for slot in range(SLOTS) for page in self.pool.held(slot)]
        assert len(set(held)) == len(held) == self.pages - self.pool.free
        assert set(held) <= set(range(1, self.pages + 1))  # page 0 is nobody's

    @invariant()
    def each_slot_has_what_it_was_allowed(self) -> None:
        assert [len(self.pool.held(slot)) for slot in range(SLOTS)] == self.allowed


Pool.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True)
TestPool = Pool.TestCase


@given(
    slots=st.integers(1, 9),
    context=st.integers(1, 5000),
    page=st.integers(1, 600),
    promise=st.none() | st.integers(0, 9000),
    pages=st.none() | st.integers(1, 2000),
)
def test_a_promise_is_kept_in_whole_pages_and_goes_no_further_than_the_context(
    slots: int, context: int, page: int, promise: int | None, pages: int | None
) -> None:
    shape = PoolShape.of(slots, context, page, promise, pages)
    assert min(context if promise is None else promise, context) <= shape.window(shape.promised)
    assert 1 <= shape.promised <= shape.full
    assert shape.window(shape.full) == context
    assert shape.window(shape.full - 1) < context
    assert shape.pages <= slots * shape.full  # nobody could use more
    for steps in (0, 1, context - 1, context, context + 1):
        assert shape.window(shape.needed(steps)) >= min(steps, context)


def test_the_7bs_context_is_twelve_pages_of_twenty_seconds() -> None:
    shape = PoolShape.of(slots=4, context=3000, page=256, promise=750)
    assert (shape.full, shape.promised, shape.pages) == (12, 3, 48)
    assert (shape.window(3), shape.window(12)) == (768, 3000)
