"""What a model costs on a machine, before one is rented: how many sessions fit, and how long their step takes.

The model of cost has three terms. A step reads the matrices once, or in int8 on a GPU once for each tile of 64 rows
(`readings`; a large cache may spare some of that, which is not counted on). It reads each session's keys and values,
all of them once the context is full. Each matrix product brings a fixed time, that of the small operations around it.
Where a large batch multiplies for longer than it reads, arithmetic takes the place of the first term.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from antiphon_cloud.backends.cuda.tiles import readings
from antiphon_cloud.backends.select import select
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.state import rows_on
from antiphon_cloud.runner.footprint import footprint
from antiphon_cloud.runner.gpus import Hardware
from antiphon_cloud.timing import FRAME_MS, STEP_BUDGET_MS

USABLE = 0.92  # of a GPU's memory: the rest is the driver's, and what captured graphs hold


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step of a model reads, multiplies and launches."""

    weights_bytes: int  # in memory
    matrices_bytes: int  # read by each step, or by each tile of its rows
    session_bytes: int  # in memory, and read by each step once the context is full
    spare_rows: int  # of state in memory, as large as a session's, that are nobody's
    multiplications: int  # of one session's step
    products: int  # matrix products, one after the other
    tiled: bool = False  # whether each tile of rows reads the matrices

    def step_s(self, machine: Hardware, sessions: int, filled: float = 1.0) -> float:
        """Seconds of a step.

        Args:
            machine: what it runs on.
            sessions: that step together.
            filled: share of their contexts that they have used.
        """
        times = readings(sessions) if self.tiled else 1
        reading = times * self.matrices_bytes / machine.bandwidth
        computing = 2 * self.multiplications * sessions / machine.peak
        caches = sessions * filled * self.session_bytes / machine.bandwidth
        return max(reading, computing) + caches + self.products * machine.overhead_per_matmul_s


@dataclass(frozen=True, slots=True)
class Plan:
    """How a machine serves a model."""

    machine: str
    fit: int  # sessions that memory holds
    budget_ms: float  # the longest step that a worker's admission allows
    in_time: int  # of those that fit, sessions whose step at full context keeps within it
    step_ms: float  # of that many sessions, or of one
    one_session_ms: float
    matrices_ms: float  # of step_ms: reading or multiplying by the matrices
    caches_ms: float  # reading keys and values
    products_ms: float  # the time that each product brings
    weights_gb: float
    session_gb: float


def cost(config: LMConfig, dtype: torch.dtype, device: str, *, int8: bool, kv_dtype: torch.dtype | None) -> Cost:
    """The cost of a model that is loaded as by `load_model`."""
    size = footprint(config, select(torch.device(device), dtype, int8), kv_dtype)
    depformer = config.dep_q * (2 + 4 * config.depformer_num_layers)
    return Cost(
        weights_bytes=size.matrices + size.tables,
        matrices_bytes=size.matrices,
        session_bytes=size.session,
        spare_rows=rows_on(torch.device(device), 0),
        multiplications=size.elements,
        products=4 * config.num_layers + 1 + config.extra_heads_num_heads + depformer,
        tiled=int8 and device == "cuda",
    )


def plan(needed: Cost, machine: Hardware, budget_ms: float = STEP_BUDGET_MS) -> Plan:
    """How `machine` serves the model that costs `needed`, where a step may take `budget_ms`; see `Admission`."""
    rows = int((machine.memory_bytes * USABLE - needed.weights_bytes) // needed.session_bytes)
    fit = max(0, rows - needed.spare_rows)
    in_time = fit
    while in_time and 1e3 * needed.step_s(machine, in_time) > budget_ms:
        in_time -= 1
    sessions = max(1, in_time)
    caches_s = sessions * needed.session_bytes / machine.bandwidth
    products_s = needed.products * machine.overhead_per_matmul_s
    step_s = needed.step_s(machine, sessions)
    return Plan(
        machine=machine.name,
        fit=fit,
        budget_ms=budget_ms,
        in_time=in_time,
        step_ms=1e3 * step_s,
        one_session_ms=1e3 * needed.step_s(machine, 1),
        matrices_ms=1e3 * (step_s - caches_s - products_s),
        caches_ms=1e3 * caches_s,
        products_ms=1e3 * products_s,
        weights_gb=needed.weights_bytes / 1e9,
        session_gb=needed.session_bytes / 1e9,
    )


def table(plans: list[Plan]) -> str:
    """The plans as a table for people."""
    head = plans[0]
    lines = [
        f"weights {head.weights_gb:.2f} GB, a session {head.session_gb:.2f} GB at full context",
        f"in time: at full context a step takes at most {head.budget_ms:g} ms of a frame's {FRAME_MS:g}",
        "machine     fit  in time  step ms  (matrices + caches + launches)  one session ms",
    ]
    lines += [
        f"{p.machine:10} {p.fit:4d} {p.in_time:8d} {p.step_ms:8.1f}  ({p.matrices_ms:8.1f} + {p.caches_ms:6.1f} + "
        f"{p.products_ms:8.1f}) {p.one_session_ms:15.1f}"
        for p in plans
    ]
    return "\n".join(lines)
