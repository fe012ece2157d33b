"""Which worker a new session goes to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Place = Callable[[np.random.Generator, Ints, Ints, int], Ints]
"""From the sessions [workers] and free places [workers] of workers, below zero of a closed one, and how many sessions
come, to how many each gets [workers]."""

PROXIES = 24  # Envoys of a region: each knows its own calls alone
TRIES = 4  # of an edge whom a full worker refuses, before it counts as waiting


def least_request(random: np.random.Generator, held: Ints, free: Ints, count: int) -> Ints:
    """As Envoy's LEAST_REQUEST: of two workers drawn at random the one that this proxy has fewer calls at; a full one
    refuses, and the edge is sent elsewhere."""
    seen = random.binomial(held, 1 / PROXIES)
    return _choose(random, seen, free, count)


def at_random(random: np.random.Generator, held: Ints, free: Ints, count: int) -> Ints:
    """Any worker; a full one refuses, and the edge is sent elsewhere."""
    return _choose(random, np.zeros_like(held), free, count)


def fullest(random: np.random.Generator, held: Ints, free: Ints, count: int) -> Ints:
    """The fullest that has a place, so that others run empty and can be taken away: bin packing, which needs a view of
    the whole fleet."""
    order = np.argsort(-held, kind="stable")
    before = np.concatenate(([0], np.cumsum(np.maximum(free[order], 0))[:-1]))
    given = np.zeros_like(held)
    given[order] = np.clip(count - before, 0, np.maximum(free[order], 0))
    return given


def _choose(random: np.random.Generator, seen: Ints, free: Ints, count: int) -> Ints:
    given = np.zeros_like(free)
    open_to_all = np.flatnonzero(free >= 0)
    for _ in range(TRIES):
        if count == 0 or not len(open_to_all):
            break
        one, other = random.choice(open_to_all, (2, count))
        chosen = np.where(seen[one] <= seen[other], one, other)
        asked = np.bincount(chosen, minlength=len(free))
        taken = np.minimum(asked, np.maximum(free - given, 0))
        given += taken
        count -= int(taken.sum())
    return given


POLICIES: dict[str, Place] = {"least request": least_request, "random": at_random, "fullest": fullest}
