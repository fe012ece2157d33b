"""The workers of one region: sessions that come and go, workers that start, drain and end."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

from tools.fleet.demand import KINDS
from tools.fleet.placement import Ints, Place
from tools.fleet.worker import WorkerKind

MEANS_S = np.array([kind.mean_s for kind in KINDS])


class State(enum.IntEnum):
    """Of a worker."""

    OFF = 0
    STARTING = 1
    UP = 2
    DRAINING = 3


class Region:
    """The workers of one region.

    A step costs by the sessions that come and go and not by those that stay: the workers of those who leave are drawn
    from all sessions, and sums are kept.

    Args:
        random: decides who comes where and who goes.
        kind: of its workers.
        machines: that it has at most.
        place: where new sessions go.
    """

    def __init__(self, random: np.random.Generator, kind: WorkerKind, machines: int, place: Place) -> None:
        self._random, self.kind, self._place = random, kind, place
        self.sessions: Ints = np.zeros((len(KINDS), machines), np.int64)
        self.total: Ints = np.zeros(machines, np.int64)
        """Sessions of each worker, of all kinds."""
        self.state = np.full(machines, State.OFF, np.int8)
        self._ready_at_s = np.zeros(machines)
        self.alive = True
        self.started_workers = self.moved_sessions = 0

    @property
    def held(self) -> int:
        """Sessions now."""
        return int(self.total.sum())

    @property
    def places(self) -> int:
        """Slots of the workers that are up."""
        return self.count(State.UP) * self.kind.slots

    @property
    def running(self) -> int:
        """Workers that cost money now."""
        return int(np.count_nonzero(self.state))

    def count(self, state: State) -> int:
        """Workers in a state."""
        return int(np.count_nonzero(self.state == int(state)))

    def pass_time(self, now_s: float, seconds: float) -> None:
        """Some sessions end; workers that started are up, and drained ones that are empty end."""
        for sessions, mean_s in zip(self.sessions, MEANS_S, strict=True):
            before = np.cumsum(sessions)
            # As many strokes as a Poisson process has, each on any session: one that is struck has ended, which has a
            # probability of 1 − exp(−seconds / mean) whatever becomes of the others.
            strokes = self._random.poisson(before[-1] * seconds / mean_s)
            if strokes:
                struck = np.sort(self._random.integers(before[-1], size=strokes))
                ended = struck[np.diff(struck, prepend=-1) > 0]
                gone = np.bincount(np.searchsorted(before, ended, side="right"), minlength=len(sessions))
                sessions -= gone
                self.total -= gone
        self.state[(self.state == int(State.STARTING)) & (self._ready_at_s <= now_s)] = State.UP
        self.state[(self.state == int(State.DRAINING)) & (self.total == 0)] = State.OFF

    def admit(self, wanted: npt.NDArray[np.int64], reserve: int = 0, kept: int = 0) -> npt.NDArray[np.int64]:
        """Takes sessions of each kind where there are places; returns how many were taken.

        Args:
            wanted: of each kind [kinds].
            reserve: places of each worker beyond its slots that may be taken, too.
            kept: of each worker's slots that are not for these sessions.
        """
        taken = np.zeros_like(wanted)
        if not self.alive or not wanted.any():
            return taken
        up = np.flatnonzero(self.state == int(State.UP))
        free = np.maximum(self.kind.slots + reserve - kept - self.total[up], 0)
        at = up[self._place(self._random, self.total[up], free, int(wanted.sum()))]
        kinds = np.repeat(np.arange(len(wanted)), wanted)
        self._random.shuffle(kinds)  # whoever finds no place is of any kind
        for kind in range(len(wanted)):
            given = np.bincount(at[kinds[: len(at)] == kind], minlength=len(self.total))
            self.sessions[kind] += given
            self.total += given
            taken[kind] = given.sum()
        return taken

    def scale(self, workers: int, now_s: float) -> None:
        """Brings the workers that are up or starting to a number; those with the fewest sessions are drained."""
        if not self.alive:
            return
        there = np.flatnonzero((self.state == int(State.UP)) | (self.state == int(State.STARTING)))
        if workers > len(there):
            draining = np.flatnonzero(self.state == int(State.DRAINING))[: workers - len(there)]
            self.state[draining] = State.UP
            off = np.flatnonzero(self.state == int(State.OFF))[: workers - len(there) - len(draining)]
            self.state[off], self._ready_at_s[off] = State.STARTING, now_s + self.kind.ready_s
            self.started_workers += len(off)
        elif workers < len(there):
            emptiest = there[np.argsort(self.total[there], kind="stable")][: len(there) - workers]
            self.state[emptiest] = State.DRAINING

    def hand_over(self) -> None:
        """Moves the sessions of draining workers to others, as far as there are places."""
        draining = self.state == int(State.DRAINING)
        wanted = self.sessions[:, draining].sum(1)
        if not wanted.any():
            return
        self._set(draining, 0)
        taken = self.admit(wanted)
        self.moved_sessions += int(taken.sum())
        rest = wanted - taken
        if rest.any():  # they stay where they were
            last = np.flatnonzero(draining)[0]
            self.sessions[:, last] += rest
            self.total[last] += rest.sum()

    def lose(self) -> npt.NDArray[np.int64]:
        """The region is lost; returns its sessions of each kind [kinds]."""
        lost: npt.NDArray[np.int64] = self.sessions.sum(1)
        self._set(slice(None), 0)
        self.state[:] = State.OFF
        self.alive = False
        return lost

    def _set(self, workers: npt.NDArray[np.bool_] | slice, sessions: int) -> None:
        self.sessions[:, workers] = sessions
        self.total[workers] = sessions
