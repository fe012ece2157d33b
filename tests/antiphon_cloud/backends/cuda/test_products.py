"""The GPU's products in Triton's interpreter, against the definition: every matrix of the published models."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.backends.cuda.places import Places
from antiphon_cloud.backends.cuda.products import Products, Rows, TritonLinear, Weights
from antiphon_cloud.backends.cuda.tiling import PROGRAMS, tiling
from antiphon_cloud.backends.int8 import Int8Linear, quantize_rows
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import StaticKv, allocate_ring
from antiphon_cloud.model.layers import Linear, RMSNorm, rope, rotate
from antiphon_cloud.model.lm import LanguageModel
from tests.support.devices import DEVICE, on, randn
from tools.gpu.configs import CONFIGS

PRODUCTS = Products(DEVICE)
CUT = 40  # outputs of a large matrix that are computed, in two tiles: the interpreter is slow, and programs do not meet


def matrices(config: LMConfig) -> set[tuple[int, int]]:
    with torch.device("meta"):
        model = LanguageModel(config)
    return {(len(each.weight), each.weight.shape[1]) for each in model.modules() if isinstance(each, Linear)}


PUBLISHED = {shape for config in CONFIGS.values() for shape in matrices(config)}
SHAPES = sorted({(min(outputs, CUT), inputs) for outputs, inputs in PUBLISHED} | {(37, 100)})  # the last: odd in both


def in_int8(outputs: int, inputs: int) -> Weights:
    return Weights(*map(on, quantize_rows((randn(outputs, inputs) * inputs**-0.5).cpu())))


def as_floats(weights: Weights) -> Tensor:
    return weights.values.float() if weights.scale is None else weights.values.float() * weights.scale[:, None]


def norm_of(inputs: int) -> RMSNorm:
    norm = RMSNorm(inputs, 1e-8).to(DEVICE)
    norm.alpha.data = 1 + 0.1 * randn(1, 1, inputs, seed=5)
    return norm.requires_grad_(False)


def test_no_matrix_of_the_published_models_is_left_out() -> None:
    assert {inputs for _, inputs in SHAPES} >= {128, 1024, 2048, 2816, 4096, 5632, 11264}
    assert {inputs for _, inputs in SHAPES} >= {inputs for _, inputs in PUBLISHED}


@pytest.mark.parametrize("outputs", [1024, 2048, 4096, 8192, 11264, 32000])
@pytest.mark.parametrize("inputs", [1024, 2816, 4096, 11264])
@pytest.mark.parametrize("weight_bytes", [1, 2])
def test_a_large_matrix_has_two_programs_for_every_multiprocessor(outputs: int, inputs: int, weight_bytes: int) -> None:
    cut = tiling(outputs, inputs, weight_bytes)
    blocks = -(-inputs // cut.block_inputs)
    assert cut.tiles * cut.splits >= min(PROGRAMS, cut.tiles * blocks)
    assert cut.splits * cut.split_inputs >= inputs > (cut.splits - 1) * cut.split_inputs  # each split has inputs
    assert cut.split_inputs % cut.block_inputs == 0


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_product_and_residual_are_the_definitions(shape: tuple[int, int], rows: int) -> None:
    weights, x, residual = in_int8(*shape), randn(rows, shape[1], seed=1), randn(rows, shape[0], seed=2)
    found = PRODUCTS.linear_add(weights, Rows(x), Rows(residual))
    torch.testing.assert_close(found, residual + F.linear(x, as_floats(weights)), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("inputs", [1024, 2048, 4096])
def test_gates_and_values_are_the_definitions(inputs: int, rows: int) -> None:
    weights, norm, x = in_int8(2 * CUT, inputs), norm_of(inputs), 3 * randn(rows, inputs, seed=1)
    gates, values = F.linear(norm(x), as_floats(weights))[0].chunk(2, -1)
    torch.testing.assert_close(PRODUCTS.norm_gate(norm, weights, x), F.silu(gates) * values, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(40, 1024), (37, 100)], ids=str)
def test_matrices_of_floats_are_multiplied_likewise(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weights, x = Weights((randn(*shape) * shape[1] ** -0.5).to(dtype), None), randn(3, shape[1], seed=1).to(dtype)
    found, wanted = PRODUCTS.linear_add(weights, Rows(x)), F.linear(x.float(), as_floats(weights))
    assert found.dtype == dtype
    assert (found.float() - wanted).abs().max() < 4 * torch.finfo(dtype).eps * wanted.abs().max()


@pytest.mark.parametrize("rows", [1, 16, 17, 64, 65])
def test_half_precision_activations_lose_no_more_than_their_own_rounding(rows: int) -> None:
    dtype = torch.float16  # bfloat16 takes the same path, but the interpreter multiplies its bits as integers
    weights, x = in_int8(96, 1024), randn(rows, 1024, seed=1).to(dtype)
    found, wanted = PRODUCTS.linear_add(weights, Rows(x)), F.linear(x.float(), as_floats(weights))
    assert (found.float() - wanted).abs().max() < torch.finfo(dtype).eps * wanted.abs().max()


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of the interpreter, where a gate is shut
def test_a_norm_in_half_precision_does_not_overflow_before_it_is_one() -> None:
    weights, norm, x = in_int8(64, 256), norm_of(256), randn(2, 256, seed=1)
    norm.alpha.data *= 100
    large = (x * 2000).to(torch.float16)  # times the norm's weights, beyond float16
    gates, values = F.linear(norm(large.float()), as_floats(weights)).chunk(2, -1)
    wanted, found = F.silu(gates) * values, PRODUCTS.norm_gate(norm, weights, large)
    assert (found.float() - wanted).abs().max() < 0.01 * wanted.abs().max()


def test_rows_of_tables_are_multiplied_and_added_and_minus_one_is_none() -> None:
    weights, table, added = in_int8(40, 48), randn(9, 48, seed=1), randn(7, 40, seed=2)
    tokens, others = on(torch.tensor([3, -1, 8])), on(torch.tensor([-1, 6, 0]))
    found = PRODUCTS.linear_add(weights, Rows(table, tokens), Rows(added, others))
    x = table[tokens].masked_fill((tokens < 0)[:, None], 0)
    wanted = F.linear(x, as_floats(weights)) + added[others].masked_fill((others < 0)[:, None], 0)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_result_goes_where_it_is_asked_for() -> None:
    weights, x, out = in_int8(40, 48), randn(3, 48, seed=1), on(torch.full((3, 2, 40), 7.0))
    PRODUCTS.linear_add(weights, Rows(x), out=out[:, 1])
    torch.testing.assert_close(out[:, 1], F.linear(x, as_floats(weights)), rtol=1e-5, atol=1e-5)
    assert (out[:, 0] == 7).all()


def batch(rows: int) -> tuple[Weights, Tensor]:
    return in_int8(37, 300), randn(rows, 300, seed=1)


def test_a_row_is_the_same_in_any_batch() -> None:
    weights, x = batch(20)
    together = PRODUCTS.linear_add(weights, Rows(x))
    assert torch.equal(together[7:8], PRODUCTS.linear_add(weights, Rows(x[7:8].clone())))


def test_tiles_of_rows_do_not_meet() -> None:
    weights, x = batch(150)
    together = PRODUCTS.linear_add(weights, Rows(x))
    for tile in (slice(0, 64), slice(64, 128), slice(128, 150)):
        alone = PRODUCTS.linear_add(weights, Rows(x[tile].clone()))
        torch.testing.assert_close(together[tile], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value")  # of the interpreter
def test_a_row_that_is_no_number_leaves_the_others_every_bit() -> None:
    weights, x = batch(20)
    norm, others = norm_of(300), on(torch.arange(20) != 7)
    gate = Weights(torch.cat((weights.values, weights.values)), torch.cat((weights.scale, weights.scale)))  # type: ignore[arg-type]
    wanted = PRODUCTS.linear_add(weights, Rows(x), Rows(x[:, :37].clone())), PRODUCTS.norm_gate(norm, gate, x)
    x[7] = torch.nan
    found = PRODUCTS.linear_add(weights, Rows(x), Rows(x[:, :37].clone())), PRODUCTS.norm_gate(norm, gate, x)
    for before, after in zip(wanted, found, strict=True):
        assert after[7].isnan().all()
        assert torch.equal(after[others], before[others])


def test_programs_leave_their_counters_as_they_found_them() -> None:
    weights, x = batch(20)
    first = PRODUCTS.linear_add(weights, Rows(x))
    assert tiling(37, 300, 1).splits > 1
    _, counters = PRODUCTS.shared(1, 1)
    assert counters is not None
    assert not counters.any()
    assert torch.equal(PRODUCTS.linear_add(weights, Rows(x)), first)


@pytest.mark.parametrize("rows", [1, 64, 320, 321])
def test_a_matrix_in_int8_is_multiplied_as_the_definition_does(rows: int) -> None:
    weights, x = in_int8(40, 48), randn(rows, 1, 48, seed=1)
    assert weights.scale is not None
    found, wanted = (kind(weights.values, weights.scale)(x) for kind in (TritonLinear, Int8Linear))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kv_dtype", [torch.float32, torch.float16, torch.int8])
@pytest.mark.parametrize(
    ("dim", "heads", "group", "rows"), [(256, 2, 1, 3), (128, 2, 1, 64), (96, 2, 1, 1), (96, 6, 3, 5)],
    ids=["128", "64", "48", "grouped"],
)  # fmt: skip
def test_queries_are_the_definitions_and_keys_and_values_are_where_they_belong(
    dim: int, heads: int, group: int, rows: int, kv_dtype: torch.dtype
) -> None:
    """Heads of 128, of 64, and of no power of two, or groups of them; slots in any order, at steps that wrap the ring
    of 10."""
    config, kv_heads = LMConfig(dim=dim, num_heads=heads, kv_repeat=group, num_layers=2, context=10), heads // group
    weights, norm = in_int8(dim + 2 * kv_heads * dim // heads, dim), norm_of(dim)
    x = randn(rows, dim, seed=1)
    slots = on(torch.randperm(rows + 1, generator=torch.Generator().manual_seed(0))[:rows])
    steps = on(torch.arange(rows) * 7)
    rings = [allocate_ring(config, rows + 1, kv_dtype, DEVICE) for _ in range(2)]
    rotation = rope(steps[:, None], dim // heads, 10_000.0)
    every = F.linear(norm(x), as_floats(weights))[0].view(rows, heads + 2 * kv_heads, 1, -1)
    turned, v = torch.split(every, [heads + kv_heads, kv_heads], 1)
    q, k = torch.split(rotate(turned, rotation), [heads, kv_heads], 1)
    rings[0].write(1, slots, steps % 10, k, v)
    places = Places.of(StaticKv(rings[1], slots, steps), 1)
    found = PRODUCTS.norm_qkv_append(norm, weights, x, heads, rotation, places)
    torch.testing.assert_close(found, q[:, :, 0], rtol=1e-4, atol=1e-5)
    for wanted, written in zip(rings[0].tensors, rings[1].tensors, strict=True):
        assert not written[0].any()  # the other layer
        if kv_dtype == torch.int8 and wanted.dtype == torch.int8:
            assert (wanted.int() - written.int()).abs().max() <= 1  # an entry near a rounding's edge
        else:
            torch.testing.assert_close(written, wanted, rtol=2e-3 if kv_dtype == torch.float16 else 1e-4, atol=1e-4)


def test_int8_entries_are_rounded_as_the_ring_does() -> None:
    """Halves go to the even number: a product by an identity leaves them as they are."""
    config = LMConfig(dim=48, num_heads=1, num_layers=1, context=4)
    values = torch.zeros(144, 48, dtype=torch.int8, device=DEVICE)
    values[48:96] = torch.eye(48, dtype=torch.int8, device=DEVICE)
    x = on(torch.arange(48)[None].float() - 20.5)
    x[0, 47] = 127.0
    norm = RMSNorm(48, 1e-8).to(DEVICE).requires_grad_(False)
    norm.alpha.data = on(torch.full((1, 1, 48), x.square().mean().sqrt().item()))
    first = on(torch.tensor([0]))
    rings = [allocate_ring(config, 1, torch.int8, DEVICE) for _ in range(2)]
    entry = norm(x)[0].view(1, 1, 1, 48)
    rings[0].write(0, first, first, entry, torch.zeros_like(entry))
    places = Places.of(StaticKv(rings[1], first, first), 0)
    PRODUCTS.norm_qkv_append(norm, Weights(values, on(torch.ones(144))), x, 1, None, places)
    assert (rings[1].keys.int() - rings[0].keys.int()).abs().max() <= 1
    assert rings[1].keys[0, 0, 0, 0, 20] == 0  # of -0.5
