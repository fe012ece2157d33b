"""What a model costs on a GPU, before one is rented: how many sessions fit, by their age, and how long they step."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_cloud.model.kv_ring import PAGE
from antiphon_cloud.runner.cost import Cost
from antiphon_cloud.runner.gpus import Hardware
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.timing import FRAME_MS, FRAME_S, STEP_BUDGET_MS

USABLE = 0.92  # of a GPU's memory: the rest is the driver's, and what captured graphs hold
AGES_S = (30.0, 90.0)  # and the whole context


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions that have all lasted as long."""

    age_s: float
    fit: int  # that memory holds
    in_time: int  # of those, as many as step within the budget
    step_ms: float  # of as many, or of one


@dataclass(frozen=True, slots=True)
class Plan:
    """How a machine serves a model."""

    machine: str
    budget_ms: float  # the longest step that a worker's admission allows
    by_age: tuple[Sessions, ...]  # the last ones have a whole context
    one_session_ms: float  # of a session that has just begun
    weights_gb: float
    session_gb: float  # with a whole context

    @property
    def in_time(self) -> int:
        """Sessions with whole contexts that fit and are in time."""
        return self.by_age[-1].in_time


def plan(needed: Cost, machine: Hardware, budget_ms: float = STEP_BUDGET_MS) -> Plan:
    """How `machine` serves the model that costs `needed`, where a step may take `budget_ms`; see `Admission`."""
    context_s = needed.context * FRAME_S
    ages_s = (*(age_s for age_s in AGES_S if age_s < context_s), context_s)
    return Plan(
        machine=machine.name,
        budget_ms=budget_ms,
        by_age=tuple(sessions_of(needed, machine, age_s, budget_ms) for age_s in ages_s),
        one_session_ms=1e3 * needed.step_s(machine, 1, 0.0),
        weights_gb=(needed.size.matrices + needed.size.tables) / 1e9,
        session_gb=needed.size.session / 1e9,
    )


def sessions_of(needed: Cost, machine: Hardware, age_s: float, budget_ms: float) -> Sessions:
    """How many sessions of an age the machine holds, and steps in time."""
    size, filled = needed.size, min(age_s / FRAME_S / needed.context, 1.0)
    pages = PoolShape.of(1, needed.context, PAGE, None).needed(round(age_s / FRAME_S))
    session = size.row + pages * size.page
    spare = size.row + size.page  # what pads a graph's batch
    shared = size.matrices + size.tables + size.adapters + spare
    fit = max(0, int((machine.memory_bytes * USABLE - shared) // session))
    in_time, late = 0, fit + 1
    while late - in_time > 1:
        tried = (in_time + late) // 2
        if 1e3 * needed.step_s(machine, tried, filled) <= budget_ms:
            in_time = tried
        else:
            late = tried
    return Sessions(age_s, fit, in_time, 1e3 * needed.step_s(machine, max(1, in_time), filled))


def table(plans: list[Plan]) -> str:
    """The plans as a table for people."""
    head = plans[0]
    ages = "".join(f"  {f'fit, in time, step ms at {each.age_s:.0f} s':>33}" for each in head.by_age)
    lines = [
        f"weights {head.weights_gb:.2f} GB, a session {head.session_gb:.2f} GB at full context",
        f"in time: a step takes at most {head.budget_ms:g} ms of a frame's {FRAME_MS:g}",
        f"machine   one new session ms{ages}",
    ]
    for each in plans:
        by_age = "".join(f"  {f'{s.fit}, {s.in_time}, {s.step_ms:.1f}':>33}" for s in each.by_age)
        lines.append(f"{each.machine:9} {each.one_session_ms:18.1f}{by_age}")
    return "\n".join(lines)
