"""The GPU's int8 product in Triton's interpreter, against the definition."""

import pytest
import torch

from antiphon_cloud.kernels import int8_linear
from antiphon_cloud.quant import quantize_rows

KINDS = {  # of the 7B's matrices, [outputs, inputs]; some of the outputs stand for all: programs do not meet
    "attention": (96, 4096),
    "gating in": (64, 4096),
    "gating out": (64, 11264),
    "text head": (70, 4096),
    "depformer in": (64, 4096),
    "depformer attention": (96, 1024),
    "depformer gating out": (64, 2816),
    "odd": (37, 100),
}


def product(kind: str, rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernel's result, and float32's."""
    outputs, inputs = KINDS[kind]
    generator = torch.Generator().manual_seed(rows)
    weight, scale = quantize_rows(torch.randn(outputs, inputs, generator=generator) * inputs**-0.5)
    x = torch.randn(rows, 1, inputs, generator=generator).to(dtype)
    wanted = torch.nn.functional.linear(x.float(), weight.float() * scale[:, None])
    return int8_linear.matmul(x, weight, scale), wanted


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_float32s_product(kind: str) -> None:
    found, wanted = product(kind, 3, torch.float32)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 16, 17, 64])
def test_half_precision_activations_lose_no_more_than_their_own_rounding(rows: int) -> None:
    dtype = torch.float16  # bfloat16 takes the same path, but the interpreter multiplies its bits as integers
    found, wanted = product("depformer attention", rows, dtype)
    assert found.dtype == dtype
    assert found.shape == wanted.shape
    assert (found.float() - wanted).abs().max() < torch.finfo(dtype).eps * wanted.abs().max()


def test_a_row_is_the_same_in_any_batch() -> None:
    outputs, inputs = KINDS["odd"]
    weight, scale = quantize_rows(torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(20, inputs, generator=torch.Generator().manual_seed(1))
    together = int8_linear.matmul(x, weight, scale)
    assert torch.equal(together[7:8], int8_linear.matmul(x[7:8], weight, scale))
