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

    Args:
        random: decides who comes where and who goes.
        kind: of its workers.
        machines: that it has at most.
        place: where new sessions go.
    """

    def __init__(self, random: np.random.Generator, kind: WorkerKind, machines: int, place: Place) -> None:
        self._random, self.kind, self._place = random, kind, place
        self.sessions: Ints = np.zeros((machines, len(KINDS)), np.int64)
        self.state = np.full(machines, State.OFF, np.int8)
        self._ready_at_s = np.zeros(machines)
        self.alive = True
        self.started_workers = self.moved_sessions = 0

    @property
    def held(self) -> int:
        """Sessions now."""
        return int(self.sessions.sum())

    @property
    def running(self) -> int:
        """Workers that cost money now."""
        return int((self.state != State.OFF).sum())

    def count(self, state: State) -> int:
        """Workers in a state."""
        return int((self.state == state).sum())

    def free(self, reserve: int = 0) -> Ints:
        """Places of each worker [workers], below zero where it takes nobody."""
        places = self.kind.slots + reserve - self.sessions.sum(1)
        return np.where(self.state == State.UP, np.maximum(places, 0), -1)

    def pass_time(self, now_s: float, seconds: float) -> None:
        """Some sessions end; workers that started are up, and drained ones that are empty end."""
        self.sessions -= self._random.binomial(self.sessions, -np.expm1(-seconds / MEANS_S))
        self.state[(self.state == State.STARTING) & (self._ready_at_s <= now_s)] = State.UP
        self.state[(self.state == State.DRAINING) & (self.sessions.sum(1) == 0)] = State.OFF

    def admit(self, wanted: npt.NDArray[np.int64], reserve: int = 0) -> npt.NDArray[np.int64]:
        """Takes sessions of each kind [kinds] where there are places; returns how many were taken [kinds]."""
        taken = np.zeros_like(wanted)
        if not self.alive:
            return taken
        for kind, count in enumerate(wanted):
            if count:
                given = self._place(self._random, self.sessions.sum(1), self.free(reserve), int(count))
                self.sessions[:, kind] += given
                taken[kind] = given.sum()
        return taken

    def scale(self, workers: int, now_s: float) -> None:
        """Brings the workers that are up or starting to a number; those with the fewest sessions are drained."""
        if not self.alive:
            return
        there = np.flatnonzero((self.state == State.UP) | (self.state == State.STARTING))
        if workers > len(there):
            draining = np.flatnonzero(self.state == State.DRAINING)[: workers - len(there)]
            self.state[draining] = State.UP
            off = np.flatnonzero(self.state == State.OFF)[: workers - len(there) - len(draining)]
            self.state[off], self._ready_at_s[off] = State.STARTING, now_s + self.kind.ready_s
            self.started_workers += len(off)
        elif workers < len(there):
            held = self.sessions[there].sum(1)
            emptiest = there[np.argsort(held, kind="stable")][: len(there) - workers]
            self.state[emptiest] = State.DRAINING

    def hand_over(self) -> None:
        """Moves the sessions of draining workers to others, as far as there are places."""
        draining = self.state == State.DRAINING
        wanted = self.sessions[draining].sum(0)
        if not wanted.any():
            return
        self.sessions[draining] = 0
        taken = self.admit(wanted)
        self.moved_sessions += int(taken.sum())
        rest = wanted - taken
        if rest.any():  # they stay where they were
            self.sessions[np.flatnonzero(draining)[0]] += rest

    def lose(self) -> npt.NDArray[np.int64]:
        """The region is lost; returns its sessions of each kind [kinds]."""
        lost: npt.NDArray[np.int64] = self.sessions.sum(0)
        self.sessions[:] = 0
        self.state[:] = State.OFF
        self.alive = False
        return lost
