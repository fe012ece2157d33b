"""Whose prefill comes next: owners take turns; of one owner's slots, the one that is nearest to its end."""

from antiphon_cloud.engine.prefill_queue import PrefillQueue


def turns(queue: PrefillQueue[str], left: dict[str, int], count: int) -> list[str]:
    """Who has the next turns, each of which takes one step off."""
    taken = []
    for _ in range(count):
        taken.append(queue.next())
        left[taken[-1]] -= 1
    return taken


def test_owners_take_turns_however_many_slots_one_of_them_has() -> None:
    left = {"a1": 100, "a2": 100, "a3": 100, "b": 2}
    queue: PrefillQueue[str] = PrefillQueue(left.__getitem__)
    for session in ("a1", "a2", "a3"):
        queue.add("a", session)
    queue.add("b", "b")
    assert turns(queue, left, 4) == ["a1", "b", "a1", "b"]
    queue.discard("b", "b")
    assert turns(queue, left, 2) == ["a1", "a1"]


def test_an_owners_shortest_prefill_comes_first_and_of_equals_the_one_that_came_first() -> None:
    left = {"long": 9, "short": 2, "as short": 2}
    queue: PrefillQueue[str] = PrefillQueue(left.__getitem__)
    for session in left:
        queue.add("a", session)
    assert turns(queue, left, 2) == ["short", "short"]
    queue.discard("a", "short")
    assert turns(queue, left, 2) == ["as short", "as short"]
    queue.discard("a", "as short")
    assert queue.next() == "long"


def test_who_leaves_is_forgotten_and_an_empty_queue_is_false() -> None:
    queue: PrefillQueue[str] = PrefillQueue(len)
    queue.add("a", "x")
    queue.discard("b", "x")
    queue.discard("a", "y")
    assert queue
    queue.discard("a", "x")
    assert not queue
