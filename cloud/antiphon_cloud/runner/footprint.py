"""How many bytes a model takes, and whether this machine has them: known before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from antiphon_cloud.backends.select import Backend
from antiphon_cloud.checkpoint.load import CONDITIONERS
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import PAGE
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel, adapted_shapes
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.runner import card
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.timing import FRAME_S

ONCE_A_SESSION = ("cross_attention.k_proj", "cross_attention.v_proj")  # matrices that no step reads
HEADROOM = 1.05  # over the sum of tensors: buffers of a step, allocators' rounding


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a model's tensors take."""

    matrices: int  # read whole by every step of any batch
    tables: int  # embeddings, of which a step reads a few rows; and norms
    session: int  # a slot's state at full context
    elements: int  # of the matrices
    page: int  # a page of keys and values, where slots share memory
    row: int  # the rest of a slot's state
    beside: int = 0  # what the worker keeps beside its sessions: keys and values of prompts
    adapters: int = 0  # room for those that sessions choose

    def total(self, rows: int) -> int:
        """Bytes of the weights and of the state of `rows` sessions, with headroom."""
        return int(HEADROOM * (self.matrices + self.tables + self.adapters + rows * self.session)) + self.beside


def footprint(
    config: LMConfig,
    backend: Backend,
    kv_dtype: torch.dtype | None,
    beside: int = 0,
    room: AdapterRoom | None = None,
) -> Footprint:
    """The footprint of a model that `load_model` loads for `backend`, with keys and values in `kv_dtype`, so many bytes
    beside its sessions, and `room` for adapters."""
    with torch.device("meta"):
        model = LanguageModel(config)
    linears = {name: module.weight for name, module in model.named_modules() if isinstance(module, Linear)}
    once = [weight for name, weight in linears.items() if name.endswith(ONCE_A_SESSION)]
    told = [value.numel() for name, value in model.named_parameters() if name.startswith(CONDITIONERS)]
    width = backend.dtype.itemsize

    def held(matrices: Sequence[Tensor]) -> int:
        return sum(each.numel() + 4 * len(each) if backend.int8 else each.numel() * width for each in matrices)

    elements = sum(weight.numel() for weight in linears.values())
    tables = sum(parameter.numel() for parameter in model.parameters()) - elements - sum(told)
    tables = tables * (2 if backend.int8 else width) + 4 * sum(told) + held(once)
    elements -= sum(weight.numel() for weight in once)
    matrices = held(list(linears.values())) - held(once)
    state = BatchState.allocate(config, 1, backend.dtype, torch.device("meta"), kv_dtype)
    ring = sum(tensor.nbytes for tensor in state.ring.tensors)  # of the whole context
    page = ring // config.context * min(PAGE, config.context)
    adapters = 0
    if room is not None:
        widths = sum(sum(shape) for shape in adapted_shapes(config).values())
        adapters = room.places * room.rank * widths * backend.adapter_dtype.itemsize
    return Footprint(matrices, tables, state.size_bytes, elements, page, state.size_bytes - ring, beside, adapters)


def check_fits(needed: Footprint, slots: int, device: torch.device) -> None:
    """Raises ConfigError if the model and its slots, each with its whole context, do not fit in the memory that is
    free on `device`."""
    total, free = needed.total(slots), memory(device)[0]
    if total > free:
        fitting = max((fewer for fewer in range(slots) if needed.total(fewer) <= free), default=0)
        smaller = f"take fewer slots ({fitting} fit)" if fitting else "take a smaller model"
        raise ConfigError(
            f"the model needs {total / 1e9:.1f} GB with {slots} slots ({needed.session / 1e9:.2f} GB each), "
            f"and {free / 1e9:.1f} GB are free on {device}; {smaller}, or --quantize int8"
        )


def pool_that_fits(needed: Footprint, context: int, slots: int, device: torch.device, promise: int | None) -> PoolShape:
    """The memory that slots share on `device`: all that is free beside the weights, or what whole contexts need.

    Args:
        needed: by the model.
        context: of the model, in steps.
        slots: sessions at most.
        device: whose memory is free.
        promise: steps that each session has memory for, whatever the others do; None for the whole context.

    Raises:
        ConfigError: the model does not fit with what its sessions are promised and, for a session that is resumed, one
            whole context.
    """
    wanted = PoolShape.of(slots, context, PAGE, promise)
    least = max(slots * wanted.promised, wanted.full)
    beside = (
        needed.matrices + needed.tables + needed.adapters + (slots + 1) * needed.row + needed.page
    )  # one row and one page pad batches
    total, (free, of_all) = int(HEADROOM * (beside + least * needed.page)) + needed.beside, memory(device)
    if total > free:
        each, sessions = wanted.promised, f"{slots} sessions"
        if least > slots * wanted.promised:
            each, sessions = wanted.full, "one session's whole context"
        raise ConfigError(
            f"the model needs {total / 1e9:.1f} GB with {sessions} of {wanted.window(each) * FRAME_S:.0f} s "
            f"({each * needed.page / 1e9:.2f} GB each), and {_there(device, free, of_all, total)}take fewer slots, a "
            "shorter --kv-promise, --kv-cache int8 or --quantize int8"
        )
    pages = int(((free - needed.beside) / HEADROOM - beside) // needed.page)
    return PoolShape.of(slots, context, PAGE, promise, max(pages, least))


def _there(device: torch.device, free: int, of_all: int, total: int) -> str:
    """What a card has, where `total` bytes are too many, and who holds the rest where all of it would do."""
    if total > of_all:
        return f"{card.name(device)} has {of_all / 1e9:.1f} GB; take another card, or "
    others = ", ".join(map(str, card.holders(device))) or "other processes hold the rest"
    return f"{free / 1e9:.1f} GB of {card.name(device)}'s {of_all / 1e9:.1f} are free: {others}; end them, or "


def memory(device: torch.device) -> tuple[int, int]:
    """Bytes that `device` has free, and in all: of a CPU, what the kernel and the control group leave this process."""
    if device.type == "cuda":
        return card.memory(device)
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    if (group / "memory.max").is_file() and (limit := (group / "memory.max").read_text().strip()) != "max":
        used = int((group / "memory.current").read_text())
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        available = min(available, int(limit) - used + int(held["file"]))  # file pages go when they must
    return available, int(fields["MemTotal"].split()[0]) * 1024
