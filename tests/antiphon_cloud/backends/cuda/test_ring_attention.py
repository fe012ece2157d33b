"""The GPU's attention in Triton's interpreter, against the ring's own."""

import pytest
import torch

from antiphon_cloud.backends.cuda import ring_attention
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import Ring, StaticKv, allocate_ring, quantize_entries

SMALL = LMConfig(dim=96, num_heads=2, num_layers=2, context=700)  # heads of 48; two parts of the ring
SEVEN_B = LMConfig(dim=256, num_heads=2, num_layers=2)  # heads of 128, context 3000: six parts, the last short
WRITTEN = {SMALL: 600, SEVEN_B: 2900}


def filled(config: LMConfig, dtype: torch.dtype, garbage: float = 0.0) -> Ring:
    """A ring whose layer 1 holds keys and values of three slots, and beyond what they have written, garbage."""
    ring = allocate_ring(config, 4, dtype, torch.device("cpu"))
    written = WRITTEN[config]
    shape = (2, 3, config.num_heads, written, config.dim // config.num_heads)
    new = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for store, scales, entries in zip((ring.keys, ring.values), (ring.key_scales, ring.value_scales), new, strict=True):
        if scales is None:
            store[:, :, :, written:] = garbage
            store[1, :3, :, :written] = entries.to(dtype)
        else:
            rounded, scales[1, :3, :, :written] = quantize_entries(entries)
            store[1, :3, :, :written] = rounded.to(dtype)
    return ring


def three_rows(config: LMConfig, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Queries, keys and values [3, B, H, 1, D]."""
    shape = (3, 3, config.num_heads, 1, config.dim // config.num_heads)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)


SLOTS = torch.tensor([2, 0, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize(
    ("config", "steps"),
    [(SMALL, (0, 530, 2000)), (SEVEN_B, (511, 2800, 9000))],  # new, in the last part, long wrapped
    ids=["small", "7B"],
)
def test_it_is_the_rings_own_attention_at_every_age(
    config: LMConfig, steps: tuple[int, ...], dtype: torch.dtype
) -> None:
    q, k, v = three_rows(config)
    found = ring_attention.attend(filled(config, dtype), SLOTS, torch.tensor(steps), 1, q, k, v)
    wanted = StaticKv(filled(config, dtype), SLOTS, torch.tensor(steps)).attend(1, q, k, v)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8])
def test_half_precision_queries_lose_no_more_than_their_own_rounding(dtype: torch.dtype) -> None:
    steps = torch.tensor([63, 2800, 9000])
    q, k, v = three_rows(SEVEN_B, torch.float16)
    found = ring_attention.attend(filled(SEVEN_B, dtype), SLOTS, steps, 1, q, k, v)
    wanted = StaticKv(filled(SEVEN_B, dtype), SLOTS, steps).attend(1, q.float(), k.float(), v.float())
    assert found.dtype == torch.float16
    assert (found.float() - wanted).abs().max() < torch.finfo(torch.float16).eps * wanted.abs().max()


def test_what_no_session_wrote_is_not_read() -> None:
    q, k, v = three_rows(SMALL)
    ring = filled(SMALL, torch.float32, garbage=torch.nan)
    assert ring_attention.attend(ring, SLOTS[2:], torch.tensor([99]), 1, q[:1], k[:1], v[:1]).isfinite().all()


@pytest.mark.filterwarnings("ignore:All-NaN")  # of the interpreter
@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_a_slot_that_holds_no_numbers_leaves_the_others_every_bit(dtype: torch.dtype) -> None:
    steps = torch.tensor([30, 530, 2000])
    q, k, v = three_rows(SMALL)
    wanted = ring_attention.attend(filled(SMALL, dtype), SLOTS, steps, 1, q, k, v)
    ring = filled(SMALL, dtype)
    for held in (ring.keys, ring.values) if ring.key_scales is None else (ring.key_scales, ring.value_scales):
        assert held is not None
        held[:, SLOTS[1]] = torch.nan
    q[1] = k[1] = v[1] = torch.nan
    found = ring_attention.attend(ring, SLOTS, steps, 1, q, k, v)
    assert found[1].isnan().all()
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])


def test_a_new_entry_is_seen_at_once() -> None:
    q, k, v = three_rows(SMALL)[:, :1]
    out = ring_attention.attend(filled(SMALL, torch.float32), torch.tensor([3]), torch.tensor([0]), 0, q, k, v)
    torch.testing.assert_close(out, v)
