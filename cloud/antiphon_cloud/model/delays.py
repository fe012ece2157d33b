"""The delay pattern: at which step a stream holds which frame.

A stream of delay d holds frame f at step f + d + 1. Before its first frame it holds its initial token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.model.tokens import UNGENERATED


def delayed(
    frames: Tensor, delays: Sequence[int], initial: Sequence[int], steps: range, first_frame: int = 0
) -> Tensor:
    """What streams hold at `steps`, [..., streams, T]; `UNGENERATED` where the frame is not among `frames`.

    Args:
        frames: the streams' tokens, frame by frame, int64 [..., streams, N].
        delays: of each stream, in steps.
        initial: token of each stream.
        steps: one after the other.
        first_frame: number of the first of `frames`.
    """
    device, count = frames.device, frames.shape[-1]
    delay = torch.tensor(delays, dtype=torch.int64, device=device)[:, None]  # [streams, 1]
    frame = torch.arange(steps.start, steps.stop, device=device) - 1 - delay  # [streams, T]
    known = (frame >= first_frame) & (frame < first_frame + count)
    at = torch.where(known, frame - first_frame, count)
    held = F.pad(frames, (0, 1), value=UNGENERATED).gather(-1, at.expand(*frames.shape[:-1], -1))
    return torch.where(frame < 0, torch.tensor(initial, dtype=torch.int64, device=device)[:, None], held)


def undelayed(logits: Tensor, delays: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Moves each stream's logits [B, K, T, V] back by its delay; also which [K, T] are then valid."""
    steps, device = logits.shape[2], logits.device
    at = torch.arange(steps, device=device) + torch.tensor(delays, dtype=torch.int64, device=device)[:, None]
    rows = torch.arange(len(delays), device=device)[:, None]
    return logits[:, rows, at.clamp(max=steps - 1)], at < steps
