"""What one worker of a fleet holds, and how long it takes: all that a day's play needs to know of a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from antiphon_cloud.engine.pacing import LONGEST_MS
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner.cost import cost
from antiphon_cloud.runner.gpus import GPUS
from antiphon_cloud.runner.plan import plan
from antiphon_cloud.timing import FRAME_MS, STEP_BUDGET_MS

PREFILL_EFFICIENCY = 0.4  # of a GPU's peak: large products, small chunks
READY_S = 90.0  # from the wish for a worker to its first session, on a machine that is there: image, weights, graphs


@dataclass(frozen=True, slots=True)
class WorkerKind:
    """A worker.

    Args:
        name: for people.
        slots: sessions that it admits.
        reserve: sessions beyond these that it takes over from workers that were lost; memory and time allow them while
            most sessions are young.
        prefill_s: of one step of a history, where nothing else is computed.
        chunk_s: that a prefill takes beside that, however short: reading the weights.
        prefill_share: of its time that a worker spends on histories while others step.
        ready_s: from the wish for a worker to its first session.
        cost_per_hour: in any currency.
    """

    name: str
    slots: int
    reserve: int
    prefill_s: float
    chunk_s: float
    prefill_share: float
    ready_s: float
    cost_per_hour: float


def measured(path: Path) -> WorkerKind:
    """A worker whose figures were measured: a JSON object with the fields of `WorkerKind`."""
    return msgspec.json.decode(path.read_bytes(), type=WorkerKind)


def predicted(gpu: str, cost_per_hour: float) -> WorkerKind:
    """A worker with the 7B in int8, keys and values too, as the model of cost predicts it on a GPU.

    The slots are those that fit with whole contexts and step within the budget; the reserve is what fits beyond with
    sessions of 90 s.
    """
    hardware = GPUS[gpu]
    needed = cost(LMConfig(), torch.bfloat16, "cuda", int8=True, kv_dtype=torch.int8)
    *_, young, whole = plan(needed, hardware, STEP_BUDGET_MS).by_age
    prefill_s = 2 * needed.size.elements / (hardware.peak * PREFILL_EFFICIENCY)
    return WorkerKind(
        f"{gpu}, predicted",
        whole.in_time,
        young.in_time - whole.in_time,
        prefill_s,
        needed.size.elements / hardware.bandwidth,  # a byte each
        LONGEST_MS / FRAME_MS,
        READY_S,
        cost_per_hour,
    )
