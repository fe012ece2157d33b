"""The GPU's int8 product in Triton's interpreter, against the definition."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from antiphon_cloud.backends.cuda import int8_linear
from antiphon_cloud.backends.int8 import quantize_rows
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel

WHOLE = 1 << 21  # weights that the interpreter multiplies in about a second

with torch.device("meta"):
    MODULES = LanguageModel(LMConfig()).modules()
SEVEN_B = {(len(module.weight), module.weight.shape[1]) for module in MODULES if isinstance(module, Linear)}


def cut(outputs: int, inputs: int) -> tuple[int, int]:
    """The shape, or where that is slow some of its outputs, the last block's among them: programs do not meet."""
    return (outputs, inputs) if outputs * inputs <= WHOLE else (64 + outputs % int8_linear.BLOCK_OUTPUTS, inputs)


KINDS = sorted({cut(*shape) for shape in SEVEN_B} | {(37, 100)})  # [outputs, inputs]; the last is odd in both


def product(kind: tuple[int, int], rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernel's result, and float32's."""
    outputs, inputs = kind
    generator = torch.Generator().manual_seed(rows)
    weight, scale = quantize_rows(torch.randn(outputs, inputs, generator=generator) * inputs**-0.5)
    x = torch.randn(rows, 1, inputs, generator=generator).to(dtype)
    wanted = torch.nn.functional.linear(x.float(), weight.float() * scale[:, None])
    return int8_linear.matmul(x, weight, scale), wanted


def test_no_matrix_of_the_7b_is_left_out() -> None:
    assert {inputs for _, inputs in KINDS} >= {inputs for _, inputs in SEVEN_B} == {1024, 2816, 4096, 11264}
    assert {(2048, 1024), (1024, 1024)} <= SEVEN_B & set(KINDS)  # whole


@pytest.mark.parametrize("rows", [1, 8, 64])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_is_float32s_product(kind: tuple[int, int], rows: int) -> None:
    found, wanted = product(kind, rows, torch.float32)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [65, 128, 130])  # more than one tile of rows
@pytest.mark.parametrize("kind", [(37, 100), (96, 1024)], ids=str)
def test_rows_beyond_a_tile_are_multiplied_likewise(kind: tuple[int, int], rows: int) -> None:
    found, wanted = product(kind, rows, torch.float32)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 16, 17, 64, 65])
def test_half_precision_activations_lose_no_more_than_their_own_rounding(rows: int) -> None:
    dtype = torch.float16  # bfloat16 takes the same path, but the interpreter multiplies its bits as integers
    found, wanted = product((96, 1024), rows, dtype)
    assert found.dtype == dtype
    assert found.shape == wanted.shape
    assert (found.float() - wanted).abs().max() < torch.finfo(dtype).eps * wanted.abs().max()


@pytest.mark.parametrize(("rows", "by_kernel"), [(1, True), (64, True), (65, True), (149, True), (512, False)])
def test_every_batch_of_a_plan_goes_through_the_kernel(
    rows: int, by_kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def matmul(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        return x.new_empty(len(x), len(weight))

    monkeypatch.setattr(int8_linear, "matmul", matmul)
    with FakeTensorMode(), torch.device("cuda"):
        module = int8_linear.TritonLinear(torch.empty(8, 16, dtype=torch.int8), torch.empty(8))
        assert module(torch.empty(rows, 16, dtype=torch.bfloat16)).shape == (rows, 8)
    assert asked == ([rows] if by_kernel else [])


def batch_of_20(rows: int = 20) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Activations, and a matrix with its scales."""
    weight, scale = quantize_rows(torch.randn(37, 100, generator=torch.Generator().manual_seed(0)))
    return torch.randn(rows, 100, generator=torch.Generator().manual_seed(1)), weight, scale


def test_a_row_is_the_same_in_any_batch() -> None:
    x, weight, scale = batch_of_20()
    together = int8_linear.matmul(x, weight, scale)
    assert torch.equal(together[7:8], int8_linear.matmul(x[7:8], weight, scale))


def test_tiles_of_rows_do_not_meet() -> None:
    x, weight, scale = batch_of_20(150)
    together = int8_linear.matmul(x, weight, scale)
    for tile in (slice(0, 64), slice(64, 128), slice(128, 150)):
        torch.testing.assert_close(together[tile], int8_linear.matmul(x[tile], weight, scale), rtol=1e-6, atol=1e-6)


def test_a_row_that_is_no_number_leaves_the_others_every_bit() -> None:
    x, weight, scale = batch_of_20()
    wanted = int8_linear.matmul(x, weight, scale)
    x[7] = torch.nan
    found = int8_linear.matmul(x, weight, scale)
    others = torch.arange(20) != 7
    assert found[7].isnan().all()
    assert torch.equal(found[others], wanted[others])
