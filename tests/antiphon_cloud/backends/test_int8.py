"""int8: what it loses, and what it must not depend on."""

import pytest
import torch

from antiphon_cloud.backends import fbgemm
from antiphon_cloud.backends.fbgemm import PackedLinear
from antiphon_cloud.backends.int8 import Int8Linear, quantize_rows

needs_fbgemm = pytest.mark.skipif(not fbgemm.is_supported(), reason="this CPU has no packed product")
SHAPES = [(192, 64), (256, 1024), (36, 100), (1, 7)]


def matrix(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Float weights, and their int8 with its scales."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * shape[1] ** -0.5
    return weight, *quantize_rows(weight)


def test_rows_are_rounded_to_the_nearest_of_255_levels() -> None:
    weight, values, scale = matrix((192, 64))
    assert values.dtype == torch.int8
    assert values.abs().amax(1).eq(127).all()
    assert ((values * scale[:, None] - weight).abs() <= scale[:, None] * 0.5001).all()


def test_a_row_of_zeros_stays_zeros() -> None:
    values, scale = quantize_rows(torch.zeros(2, 8))
    assert not values.any()
    assert not scale.any()


@needs_fbgemm
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("digits", "error"), [(2, 3e-4), (3, 3e-6)])
def test_the_packed_product_is_the_definitions(shape: tuple[int, int], digits: int, error: float) -> None:
    _, values, scale = matrix(shape)
    x = torch.randn(3, 2, shape[1], generator=torch.Generator().manual_seed(1))
    x[0] *= 1e4  # each row has a scale of its own
    x[1, 0] = 0
    wanted = Int8Linear(values, scale)(x)
    found = PackedLinear(values, scale, digits)(x)
    assert found.shape == wanted.shape
    assert not found[1, 0].any()
    for row in ((0, 0), (0, 1), (1, 1), (2, 0)):
        reach = (x[row].abs().max() * (values * scale[:, None]).norm(dim=1)).max()
        assert (found[row] - wanted[row]).abs().max() < error * reach


@needs_fbgemm
@pytest.mark.parametrize("threads", [1, 2])
def test_a_packed_row_is_the_same_to_the_bit_in_any_batch(threads: int) -> None:
    _, values, scale = matrix((256, 1024))
    linear = PackedLinear(values, scale, 2)
    x = torch.randn(33, 1, 1024, generator=torch.Generator().manual_seed(1))
    torch.set_num_threads(threads)
    try:
        together = linear(x)
        for row in (0, 7, 32):
            assert torch.equal(together[row : row + 1], linear(x[row : row + 1]))
    finally:
        torch.set_num_threads(1)
