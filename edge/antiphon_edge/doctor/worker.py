"""The worker: whether it answers, how fast, and whether it has room."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from antiphon.errors import AntiphonError
from antiphon.plain_text import plain_line
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.channel import open_channel
from antiphon_edge.transport.credentials import Credentials

CALLS = 10
ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class WorkerCheck:
    """What a worker says of itself, without a session."""

    address: str
    problem: str | None = None
    """Why it does not answer; the rest is then empty."""
    model: str = ""
    round_trip_ms: float = 0.0
    """Median of some calls: the network's share of a reply's."""
    slowest_ms: float = 0.0
    step_ms: float = 0.0
    """What a step over one session takes; 0 where the worker does not know."""
    free_slots: int = 0
    slower_than_real_time: bool = False
    draining: bool = False


async def check_worker(address: str, credentials: Credentials) -> WorkerCheck:
    """Asks the worker at `address` how it is; errors are in what it returns."""
    times_ms: list[float] = []
    try:
        async with open_channel(address, credentials) as stub:
            for _ in range(CALLS):
                begun = perf_counter()
                answer = await stub.GetModel(pb.GetModelRequest(), timeout=ANSWER_S)
                times_ms.append(1e3 * (perf_counter() - begun))
    except AntiphonError as error:
        return WorkerCheck(address, str(error))
    return WorkerCheck(
        address,
        None,
        model=plain_line(answer.model.name),
        round_trip_ms=round(float(np.median(times_ms)), 1),
        slowest_ms=round(max(times_ms), 1),
        step_ms=round(answer.load.lone_step_ms, 1),
        free_slots=max(0, answer.limits.max_sessions - answer.load.sessions),
        slower_than_real_time=answer.load.slower_than_real_time,
        draining=answer.load.draining,
    )
