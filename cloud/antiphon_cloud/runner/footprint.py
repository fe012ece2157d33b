"""How many bytes a model takes, and whether this machine has them: known before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from antiphon_cloud.backends.select import Backend
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.state import BatchState, rows_on

HEADROOM = 1.05  # over the sum of tensors: buffers of a step, allocators' rounding


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a model's tensors take."""

    matrices: int  # read whole by every step of any batch
    tables: int  # embeddings, of which a step reads a few rows; and norms
    session: int  # a slot's state at full context
    elements: int  # of the matrices

    def total(self, rows: int) -> int:
        """Bytes of the weights and of the state of `rows` sessions, with headroom."""
        return int(HEADROOM * (self.matrices + self.tables + rows * self.session))


def footprint(config: LMConfig, backend: Backend, kv_dtype: torch.dtype | None) -> Footprint:
    """The footprint of a model that `load_model` loads for `backend`, with keys and values in `kv_dtype`."""
    with torch.device("meta"):
        model = LanguageModel(config)
    linears = [module.weight for module in model.modules() if isinstance(module, Linear)]
    elements = sum(weight.numel() for weight in linears)
    rest = sum(parameter.numel() for parameter in model.parameters()) - elements
    width = backend.dtype.itemsize
    matrices = elements + 4 * sum(len(weight) for weight in linears) if backend.int8 else elements * width
    state = BatchState.allocate(config, 1, backend.dtype, torch.device("meta"), kv_dtype)
    return Footprint(matrices, rest * (2 if backend.int8 else width), state.size_bytes, elements)


def check_fits(needed: Footprint, slots: int, device: torch.device) -> None:
    """Raises ConfigError if the model and its slots do not fit in the memory that is free on `device`."""
    rows = rows_on(device, slots)
    free, total = free_bytes(device), needed.total(rows)
    if total > free:
        spare = " and a spare one" if rows > slots else ""
        raise ConfigError(
            f"the model needs {total / 1e9:.1f} GB with {slots} slots{spare} ({needed.session / 1e9:.2f} GB each), "
            f"and {free / 1e9:.1f} GB are free on {device}; take fewer slots, or --quantize int8"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that `device` has free: of a CPU, what the kernel and the control group leave this process."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    if (group / "memory.max").is_file() and (limit := (group / "memory.max").read_text().strip()) != "max":
        used = int((group / "memory.current").read_text())
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        available = min(available, int(limit) - used + int(held["file"]))  # file pages go when they must
    return available
