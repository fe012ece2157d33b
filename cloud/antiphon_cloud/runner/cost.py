"""The model of cost: what a step of a model reads, multiplies and launches, and how long that takes on some hardware.

On a GPU each kernel takes as long as its reading and writing, or its arithmetic, but no less than a launch. On a CPU a
step reads the matrices once, or multiplies for longer than that; it reads each session's keys and values; and each
product brings a fixed time, that of the small operations around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from antiphon_cloud.backends.cuda.tiling import readings
from antiphon_cloud.backends.select import select
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner.footprint import Footprint, footprint
from antiphon_cloud.runner.gpus import Hardware
from antiphon_cloud.runner.step_launches import PARTS, PartLaunch, step_launches

Floats = npt.NDArray[np.float64]


class Cost(Protocol):
    """What a model costs."""

    @property
    def size(self) -> Footprint:
        """In memory."""

    @property
    def context(self) -> int:
        """Steps that the model looks back to."""

    def step_s(self, hardware: Hardware, sessions: int, filled: float = 1.0) -> float:
        """Seconds of a step.

        Args:
            hardware: what it runs on.
            sessions: that step together.
            filled: share of their contexts that they have used.
        """


@dataclass(frozen=True, slots=True)
class CpuCost:
    """What a model costs on a CPU."""

    size: Footprint
    multiplications: int  # of one session's step
    products: int  # matrix products, one after the other
    context: int

    def step_s(self, hardware: Hardware, sessions: int, filled: float = 1.0) -> float:
        """See `Cost.step_s`."""
        reading = self.size.matrices / hardware.bandwidth
        computing = 2 * self.multiplications * sessions / hardware.peak
        keys_and_values = sessions * filled * self.size.session / hardware.bandwidth
        return max(reading, computing) + keys_and_values + self.products * hardware.overhead_s


@dataclass(frozen=True)
class GpuCost:
    """What a model costs on a GPU, launch by launch.

    All that a launch does is a constant and a multiple of the rows, so that two batches say what any other takes; but a
    matrix is read for each tile of rows.
    """

    size: Footprint
    context: int
    one: Sequence[PartLaunch]  # of a step of one session
    two: Sequence[PartLaunch]  # and of two

    def step_s(self, hardware: Hardware, sessions: int, filled: float = 1.0) -> float:
        """See `Cost.step_s`."""
        return float(self._seconds(hardware, sessions, filled).sum())

    def parts_s(self, hardware: Hardware, sessions: int, filled: float = 1.0) -> dict[str, float]:
        """Seconds of each part of a step; see `step_s`."""
        seconds, parts = self._seconds(hardware, sessions, filled), dict.fromkeys(PARTS, 0.0)
        for each, launch_s in zip(self.one, seconds, strict=True):
            parts[each.part] += float(launch_s)
        return parts

    def _seconds(self, hardware: Hardware, sessions: int, filled: float) -> Floats:
        """Of each launch."""
        one, more = self._moved
        moving = one + (sessions - 1) * more + (readings(sessions) - 1) * self._matrices
        moving += self._per_entry * (sessions * filled * self.context)
        computing = 2 * self._multiplications * sessions
        return np.maximum(np.maximum(moving / hardware.bandwidth, computing / hardware.peak), hardware.overhead_s)

    @cached_property
    def _moved(self) -> tuple[Floats, Floats]:
        """Bytes of each launch for one row, and for each one more, but for keys and values of earlier steps."""
        one, two = (np.array([each.launch.bytes(0) for each in launches]) for launches in (self.one, self.two))
        return one, two - one

    @cached_property
    def _matrices(self) -> Floats:
        return np.array([each.launch.matrix for each in self.one], float)

    @cached_property
    def _per_entry(self) -> Floats:
        return np.array([each.launch.read_per_entry for each in self.one], float)

    @cached_property
    def _multiplications(self) -> Floats:
        return np.array([each.launch.multiplications for each in self.one], float)


def cost(
    config: LMConfig,
    dtype: torch.dtype,
    device: str,
    *,
    int8: bool,
    kv_dtype: torch.dtype | None,
    room: AdapterRoom | None = None,
) -> Cost:
    """The cost of a model that is loaded as by `load_model`, with `room` in memory for adapters."""
    size = footprint(config, select(torch.device(device), dtype, int8), kv_dtype, room=room)
    if device == "cuda":
        one, two = (step_launches(config, dtype, batch, int8=int8, kv_dtype=kv_dtype) for batch in (1, 2))
        return GpuCost(size, config.context, one, two)
    return CpuCost(size, size.elements, number_of_products(config), config.context)


def number_of_products(config: LMConfig) -> int:
    """Matrix products of a step, one after the other."""
    depformer = config.dep_q * (2 + 4 * config.depformer_num_layers)
    return (4 + 2 * config.cross_attention) * config.num_layers + 1 + config.extra_heads_num_heads + depformer
