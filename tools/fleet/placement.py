"""Which worker a new session goes to."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Place = Callable[[np.random.Generator, Ints, Ints, int], Ints]
"""From the sessions [workers] and free places [workers] of the workers that are open, and how many sessions come, to
the worker of each that is placed [placed]."""

PROXIES = 24  # Envoys of a region: each knows its own calls alone
DRAWS = 1024  # of a binomial, kept: to draw it anew for each session would take most of a day's play
TRIES = 4  # of an edge whom a full worker refuses, before it counts as waiting


def least_request(random: np.random.Generator, held: Ints, free: Ints, count: int) -> Ints:
    """As Envoy's LEAST_REQUEST: of two workers drawn at random the one that this proxy has fewer calls at; a full one
    refuses, and the edge is sent elsewhere."""

    def choose(count: int) -> Ints:
        drawn = random.integers(len(held), size=(2, count), dtype=np.int32)
        seen = _seen(int(held.max()))[held[drawn], random.integers(DRAWS, size=(2, count), dtype=np.int16)]
        return np.asarray(np.where(seen[0] <= seen[1], drawn[0], drawn[1]), np.int64)

    return _tried(choose, free, count)


@lru_cache(maxsize=1024)
def _seen(most: int) -> npt.NDArray[np.int16]:
    """How many of a worker's calls one proxy has, drawn before: [sessions of the worker up to `most`, DRAWS]."""
    random = np.random.default_rng(most)
    return random.binomial(np.arange(most + 1)[:, None], 1 / PROXIES, (most + 1, DRAWS)).astype(np.int16)


def at_random(random: np.random.Generator, held: Ints, free: Ints, count: int) -> Ints:
    """Any worker; a full one refuses, and the edge is sent elsewhere."""
    return _tried(lambda count: random.integers(len(held), size=count), free, count)


def fullest(random: np.random.Generator, held: Ints, free: Ints, count: int) -> Ints:
    """The fullest that has a place, so that others run empty and can be taken away: bin packing, which needs a view of
    the whole fleet."""
    order = np.argsort(-held, kind="stable")
    before = np.concatenate(([0], np.cumsum(free[order])))
    given = np.clip(count - before[:-1], 0, free[order])
    return np.repeat(order, given)


def _tried(choose: Callable[[int], Ints], free: Ints, count: int) -> Ints:
    """Sends each of `count` sessions to a worker that `choose` draws; whom it has no place for tries another."""
    left, placed = free.copy(), np.zeros(0, np.int64)
    for _ in range(TRIES if len(free) else 0):
        if count == len(placed):
            break
        asked = np.sort(choose(count - len(placed)))
        first = np.searchsorted(asked, asked)  # of those who ask the same worker
        taken = asked[np.arange(len(asked)) - first < left[asked]]
        np.subtract.at(left, taken, 1)
        placed = np.concatenate([placed, taken])
    return placed


POLICIES: dict[str, Place] = {"least request": least_request, "random": at_random, "fullest": fullest}
