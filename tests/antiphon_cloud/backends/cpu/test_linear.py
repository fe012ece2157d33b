"""The compiled product against the definition, and what it must not depend on."""

import pytest
import torch

from antiphon_cloud.backends.cpu.library import library
from antiphon_cloud.backends.cpu.linear import CompiledLinear
from antiphon_cloud.backends.int8 import Int8Linear, quantize_rows
from tests.support.native import needs_library

pytestmark = needs_library

SHAPES = [(192, 64), (256, 1024), (37, 100), (1, 7), (66, 193), (5, 11264)]
ERROR = {1: 3e-4, 2: 1e-6}  # by digits, relative to the largest that the product can reach


def matrix(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 weights and their scales."""
    generator = torch.Generator().manual_seed(0)
    return quantize_rows(torch.randn(shape, generator=generator) * shape[1] ** -0.5)


def compiled(weight: torch.Tensor, scale: torch.Tensor, digits: int) -> CompiledLinear:
    """The matrix as the library takes it."""
    found = library()
    assert found is not None
    return CompiledLinear(weight, scale, digits, found)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("digits", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_the_product_is_the_definitions(shape: tuple[int, int], digits: int, rows: int) -> None:
    values, scale = matrix(shape)
    x = torch.randn(rows, 1, shape[1], generator=torch.Generator().manual_seed(1))
    x[0] *= 1e4  # each row has a scale of its own
    wanted = Int8Linear(values, scale)(x.double())
    found = compiled(values, scale, digits)(x)
    assert found.shape == wanted.shape
    for row in range(rows):
        reach = (x[row].abs().max() * (values * scale[:, None]).norm(dim=1)).max()
        assert (found[row] - wanted[row]).abs().max() < ERROR[digits] * reach


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("digits", [1, 2])
def test_a_row_is_the_same_to_the_bit_in_any_batch_on_any_number_of_threads(threads: int, digits: int) -> None:
    linear = compiled(*matrix((1001, 1024)), digits)
    x = torch.randn(11, 1, 1024, generator=torch.Generator().manual_seed(1))
    alone = [linear(x[row : row + 1]) for row in range(len(x))]
    torch.set_num_threads(threads)
    try:
        for count in (1, 2, 3, 6, 11):
            together = linear(x[:count])
            assert all(torch.equal(together[row : row + 1], alone[row]) for row in range(count))
    finally:
        torch.set_num_threads(1)


def test_the_largest_sums_do_not_overflow() -> None:
    values = torch.full((4, 20_000), -128, dtype=torch.int8)
    x = torch.full((1, 20_000), 3.0)
    found = compiled(values, torch.ones(4), 1)(x)
    torch.testing.assert_close(found, torch.full((1, 4), -128.0 * 3 * 20_000))


def test_a_row_that_is_no_number_gives_no_number_and_spoils_no_other() -> None:
    linear = compiled(*matrix((37, 100)), 1)
    x = torch.randn(4, 100, generator=torch.Generator().manual_seed(1))
    wanted = linear(x)
    x[1, 3], x[2, 5] = torch.nan, torch.inf
    found = linear(x)
    assert not found[1].isfinite().any()
    assert not found[2].isfinite().any()
    assert torch.equal(found[::3], wanted[::3])
    assert not linear(torch.zeros(1, 100)).any()
