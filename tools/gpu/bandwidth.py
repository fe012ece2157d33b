"""How fast the card's memory is: by its data sheet, and by its own copies."""

from __future__ import annotations

import torch

from antiphon_cloud.runner.gpus import GPUS, REACHED


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of the card's largest copies."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(10):
        target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    return float(10 * 2 * source.nbytes / (start.elapsed_time(end) / 1e3))


def peak_bandwidth(card: str, memory_bytes: int) -> float | None:
    """The data sheet's bytes a second of a card that `plan` knows; None of one of the same name with other memory."""
    known = [GPUS[gpu_name] for gpu_name in GPUS if gpu_name in card.replace("-", " ").split()]
    if not known or "PCIe" in card or abs(memory_bytes / known[0].memory_bytes - 1) > 0.1:
        return None
    return known[0].bandwidth / REACHED
