"""The GPU's attention in Triton's interpreter, against the ring's own."""

import pytest
import torch
from torch import Tensor

from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.backends.cuda.places import Places
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import Ring, StaticKv, allocate_ring, quantize_entries
from antiphon_cloud.model.layers import attention
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.state import DepformerKv
from tests.support.devices import DEVICE, on, randn

SMALL = LMConfig(dim=96, num_heads=2, num_layers=2, context=700)  # heads of 48; two parts of the ring
SEVEN_B = LMConfig(dim=256, num_heads=2, num_layers=2)  # heads of 128, context 3000: six parts, the last short
STT_1B = LMConfig(dim=128, num_heads=2, num_layers=2, context=750)  # heads of 64 stand for narrow ones
GROUPED = LMConfig(dim=144, num_heads=6, kv_repeat=3, num_layers=2, context=700)  # heads of 24; two of keys and values
WRITTEN = {SMALL: 600, SEVEN_B: 2900, STT_1B: 700, GROUPED: 600}
SLOTS = on(torch.tensor([2, 0, 1]))


def ops() -> CudaOps:
    with torch.device("meta"):
        model = LanguageModel(LMConfig(dim=96, num_heads=2, num_layers=1, dep_q=0))
    return CudaOps(model.to_empty(device=DEVICE))


OPS = ops()


def attend(ring: Ring, slots: Tensor, steps: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Writes the new entries in layer 1, and attends: [B, H, 1, D]."""
    ring.write(1, slots, steps % ring.context, k, v)
    return OPS.attend_to(q[:, :, 0].contiguous(), Places.of(StaticKv(ring, slots, steps), 1))[:, :, None]


def filled(config: LMConfig, dtype: torch.dtype, garbage: float = 0.0) -> Ring:
    """A ring whose layer 1 holds keys and values of three slots, and beyond what they have written, garbage."""
    ring = allocate_ring(config, 4, dtype, DEVICE)
    written = WRITTEN[config]
    shape = (2, 3, config.kv_heads, written, config.dim // config.num_heads)
    new = randn(*shape)
    for store, scales, entries in zip((ring.keys, ring.values), (ring.key_scales, ring.value_scales), new, strict=True):
        if scales is None:
            store[:, :, :, written:] = garbage
            store[1, :3, :, :written] = entries.to(dtype)
        else:
            rounded, scales[1, :3, :, :written] = quantize_entries(entries)
            store[1, :3, :, :written] = rounded.to(dtype)
    return ring


def three_rows(config: LMConfig, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B, H, 1, D], keys and values [B, K, 1, D]."""
    q, k, v = randn(3, 3, config.num_heads, 1, config.dim // config.num_heads, seed=1).to(dtype)
    return q, k[:, : config.kv_heads], v[:, : config.kv_heads]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize(
    ("config", "steps"),
    [  # new, on the way, wrapped
        (SMALL, (0, 530, 2000)),
        (STT_1B, (511, 512, 751)),
        (SEVEN_B, (511, 2800, 9000)),
        (GROUPED, (0, 530, 2000)),
    ],
    ids=["small", "STT-1B", "7B", "grouped"],
)
def test_it_is_the_rings_own_attention_at_every_age(
    config: LMConfig, steps: tuple[int, ...], dtype: torch.dtype
) -> None:
    q, k, v = three_rows(config)
    found = attend(filled(config, dtype), SLOTS, on(torch.tensor(steps)), q, k, v)
    wanted = StaticKv(filled(config, dtype), SLOTS, on(torch.tensor(steps))).attend(1, q, k, v)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8])
def test_half_precision_queries_lose_no_more_than_their_own_rounding(dtype: torch.dtype) -> None:
    steps = on(torch.tensor([63, 2800, 9000]))
    q, k, v = three_rows(SEVEN_B, torch.float16)
    found = attend(filled(SEVEN_B, dtype), SLOTS, steps, q, k, v)
    wanted = StaticKv(filled(SEVEN_B, dtype), SLOTS, steps).attend(1, q.float(), k.float(), v.float())
    assert found.dtype == torch.float16
    assert (found.float() - wanted).abs().max() < torch.finfo(torch.float16).eps * wanted.abs().max()


def test_what_no_session_wrote_is_not_read() -> None:
    q, k, v = three_rows(SMALL)
    ring = filled(SMALL, torch.float32, garbage=torch.nan)
    assert attend(ring, SLOTS[2:], on(torch.tensor([99])), q[:1], k[:1], v[:1]).isfinite().all()


@pytest.mark.filterwarnings("ignore:All-NaN")  # of the interpreter
@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_a_slot_that_holds_no_numbers_leaves_the_others_every_bit(dtype: torch.dtype) -> None:
    steps = on(torch.tensor([30, 530, 2000]))
    q, k, v = three_rows(SMALL)
    wanted = attend(filled(SMALL, dtype), SLOTS, steps, q, k, v)
    ring = filled(SMALL, dtype)
    for held in (ring.keys, ring.values) if ring.key_scales is None else (ring.key_scales, ring.value_scales):
        assert held is not None
        held[:, SLOTS[1]] = torch.nan
    q[1] = k[1] = v[1] = torch.nan
    found = attend(ring, SLOTS, steps, q, k, v)
    assert found[1].isnan().all()
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])


def test_a_new_entry_is_seen_at_once() -> None:
    q, k, v = (each[:1] for each in three_rows(SMALL))
    torch.testing.assert_close(
        attend(filled(SMALL, torch.float32), on(torch.tensor([3])), on(torch.tensor([0])), q, k, v), v
    )


@pytest.mark.parametrize("codebook", [0, 5, 31])
def test_the_depformer_attends_to_the_codebooks_before(codebook: int) -> None:
    entries = randn(2, 2, 3, 2, 32, 48)  # TTS's 32 codebooks
    kv, q = DepformerKv(entries[0], entries[1]), three_rows(SMALL)[0]
    found = OPS.attend_to(q[:, :, 0].contiguous(), Places.of(kv.at(codebook, 3), 1))
    keys, values = (each[1, :, :, : codebook + 1] for each in entries)
    torch.testing.assert_close(found, attention(q, keys, values)[:, :, 0], rtol=1e-4, atol=1e-5)
