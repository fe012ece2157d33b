"""The GPU's attention in Triton's interpreter, against the ring's own."""

from dataclasses import replace

import pytest
import torch

from antiphon_cloud.config import LMConfig
from antiphon_cloud.kernels import ring_attention
from antiphon_cloud.ring import Ring, allocate_ring

CONFIG = LMConfig(dim=96, num_heads=2, num_layers=2, context=700)  # heads of 48; two parts of the ring


def filled(dtype: torch.dtype, garbage: float = 0.0) -> Ring:
    ring = allocate_ring(CONFIG, 4, dtype, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for step in range(600):
        keys, values = torch.randn(2, 3, 2, 1, 48, generator=generator)
        ring.write(1, torch.arange(3), torch.full((3,), step), keys, values)
    if dtype.is_floating_point:
        ring.keys[:, :, :, 600:] = garbage
        ring.values[:, :, :, 600:] = garbage
    return ring


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_it_is_the_rings_own_attention_at_every_age(dtype: torch.dtype) -> None:
    slots, steps = torch.tensor([2, 0, 1]), torch.tensor([0, 530, 2000])  # new, in the second part, long wrapped
    q, k, v = torch.randn(3, 3, 2, 1, 48, generator=torch.Generator().manual_seed(1))
    found = ring_attention.attend(filled(dtype), slots, steps)(1)(q, k, v)
    wanted = filled(dtype).static(slots, steps)(1)(q, k, v)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_what_no_session_wrote_is_not_read() -> None:
    slots, steps = torch.tensor([1]), torch.tensor([99])
    q, k, v = torch.randn(3, 1, 2, 1, 48, generator=torch.Generator().manual_seed(1))
    ring = filled(torch.float32, garbage=torch.nan)
    assert ring_attention.attend(ring, slots, steps)(1)(q, k, v).isfinite().all()


def test_a_new_entry_is_seen_at_once() -> None:
    ring = replace(filled(torch.float32))
    q, k, v = torch.randn(3, 1, 2, 1, 48, generator=torch.Generator().manual_seed(1))
    out = ring_attention.attend(ring, torch.tensor([3]), torch.tensor([0]))(0)(q, k, v)
    torch.testing.assert_close(out, v)
