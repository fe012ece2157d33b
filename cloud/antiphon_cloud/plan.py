"""What a model costs on a machine, before one is rented: how many sessions fit, and how long their step takes.

The model of cost has three terms. Matrices are read once a step, whatever the batch; each session adds its keys and
values, read whole once its context is full; each matrix product brings a fixed time, that of the small operations
around it. Where a large batch multiplies for longer than it reads, arithmetic takes the place of the first term.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from antiphon_cloud.cache import rows_on
from antiphon_cloud.config import LMConfig
from antiphon_cloud.footprint import footprint

FRAME_S = 0.08
USABLE = 0.92  # of a GPU's memory: the rest is the driver's, and what captured graphs hold


@dataclass(frozen=True, slots=True)
class Machine:
    """What a step runs on. Bandwidth is what a step can reach, not the data sheet's figure."""

    name: str
    memory_bytes: float
    bandwidth: float  # bytes/s
    peak: float  # operations/s of bfloat16 products, two for each multiply-add
    product_s: float  # time that each product brings beside its reading


REACHED = 0.75  # of a data sheet's bandwidth, and of its operations: assumed, as no GPU was at hand
PRODUCT_S = 20e-6  # about ten small kernels of a captured graph, 2 µs each: assumed likewise


def gpu(name: str, memory_gb: float, bandwidth_gb_s: float, peak_tflops: float) -> Machine:
    """A GPU by its data sheet."""
    return Machine(name, memory_gb * 1e9, bandwidth_gb_s * 1e9 * REACHED, peak_tflops * 1e12 * REACHED, PRODUCT_S)


GPUS = {
    machine.name: machine
    for machine in (  # NVIDIA's data sheets: memory, bandwidth, dense bfloat16
        gpu("L4", 24, 300, 121),
        gpu("A10G", 24, 600, 70),
        gpu("L40S", 48, 864, 362),
        gpu("A100", 80, 2039, 312),
        gpu("H100", 80, 3350, 989),
        gpu("H200", 141, 4800, 989),
    )
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step of a model reads, multiplies and launches."""

    weights_bytes: int  # in memory
    matrices_bytes: int  # read by each step
    session_bytes: int  # in memory, and read by each step once the context is full
    spare_rows: int  # of state in memory, as large as a session's, that are nobody's
    multiplications: int  # of one session's step
    products: int  # matrix products, one after the other

    def step_s(self, machine: Machine, sessions: int, filled: float = 1.0) -> float:
        """Seconds of a step.

        Args:
            machine: what it runs on.
            sessions: that step together.
            filled: share of their contexts that they have used.
        """
        reading = self.matrices_bytes / machine.bandwidth
        computing = 2 * self.multiplications * sessions / machine.peak
        caches = sessions * filled * self.session_bytes / machine.bandwidth
        return max(reading, computing) + caches + self.products * machine.product_s


@dataclass(frozen=True, slots=True)
class Plan:
    """How a machine serves a model."""

    machine: str
    fit: int  # sessions that memory holds
    in_time: int  # of those, sessions whose step at full context ends within a frame
    step_ms: float  # of that many sessions, or of one
    one_session_ms: float
    matrices_ms: float  # of step_ms: reading or multiplying by the matrices
    caches_ms: float  # reading keys and values
    products_ms: float  # the time that each product brings
    weights_gb: float
    session_gb: float


def cost(config: LMConfig, dtype: torch.dtype, device: str, *, int8: bool, cache: torch.dtype | None) -> Cost:
    """The cost of a model that is loaded as by `load_model`."""
    size = footprint(config, dtype, torch.device(device), int8=int8, cache=cache)
    depformer = config.dep_q * (2 + 4 * config.depformer_num_layers)
    return Cost(
        weights_bytes=size.matrices + size.tables,
        matrices_bytes=size.matrices,
        session_bytes=size.session,
        spare_rows=rows_on(torch.device(device), 0),
        multiplications=size.elements,
        products=4 * config.num_layers + 1 + config.extra_heads_num_heads + depformer,
    )


def plan(needed: Cost, machine: Machine) -> Plan:
    """How `machine` serves the model that costs `needed`."""
    rows = int((machine.memory_bytes * USABLE - needed.weights_bytes) // needed.session_bytes)
    fit = max(0, rows - needed.spare_rows)
    in_time = fit
    while in_time and needed.step_s(machine, in_time) > FRAME_S:
        in_time -= 1
    sessions = max(1, in_time)
    caches_s = sessions * needed.session_bytes / machine.bandwidth
    products_s = needed.products * machine.product_s
    step_s = needed.step_s(machine, sessions)
    return Plan(
        machine=machine.name,
        fit=fit,
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
        f"weights {head.weights_gb:.2f} GB, a session {head.session_gb:.2f} GB at full context; a frame is 80 ms",
        "machine     fit  in time  step ms  (matrices + caches + launches)  one session ms",
    ]
    lines += [
        f"{p.machine:10} {p.fit:4d} {p.in_time:8d} {p.step_ms:8.1f}  ({p.matrices_ms:8.1f} + {p.caches_ms:6.1f} + "
        f"{p.products_ms:8.1f}) {p.one_session_ms:15.1f}"
        for p in plans
    ]
    return "\n".join(lines)
