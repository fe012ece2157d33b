"""The GPU's draw in Triton's interpreter, against the definition."""

import pytest
import torch
from torch import Tensor

from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.sampling import gumbel, noise_keys, sample
from tests.support.devices import DEVICE, on, randn

with torch.device("meta"):
    MODEL = LanguageModel(LMConfig(dim=32, num_heads=2, num_layers=1, dep_q=0)).to_empty(device=DEVICE)
OPS = CudaOps(MODEL)


def logits_of(rows: int, cardinality: int) -> Tensor:
    return 4 * randn(rows, cardinality, seed=cardinality)


def keys_of(rows: int) -> Tensor:
    return on(noise_keys(torch.tensor(-7), torch.arange(rows), torch.tensor(2)))


def row(values: float, rows: int) -> Tensor:
    return on(torch.full((rows,), values))


@pytest.mark.parametrize(
    ("cardinality", "top_k", "temperature"),
    [
        (32_000, 25, 0.7),
        (32_000, 512, 1.3),
        (8000, 50, 0.6),
        (2048, 250, 0.8),
        (2048, 1, 0.8),
        (2048, 250, 0.0),
        (37, 99, 2.0),
    ],
)
def test_tokens_are_the_definitions(cardinality: int, top_k: int, temperature: float) -> None:
    rows = 2 if cardinality > 4096 else 6
    logits, keys = logits_of(rows, cardinality), keys_of(rows)
    found = OPS.draw(logits, keys, row(temperature, rows), on(torch.full((rows,), top_k)), 512)
    assert torch.equal(found, sample(logits, keys, row(temperature, rows), on(torch.full((rows,), top_k)), 512))


def test_rows_may_lie_apart() -> None:
    """As those of one codebook do, among all codes' logits and keys."""
    logits, keys = logits_of(6, 40).view(2, 3, 40), keys_of(6).view(2, 3)
    found = OPS.draw(logits[:, 1], keys[:, 1], row(1.0, 2), on(torch.full((2,), 8)), 512)
    assert torch.equal(found, sample(logits[:, 1], keys[:, 1], row(1.0, 2), on(torch.full((2,), 8)), 512))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_of_equal_logits_the_first_are_drawn_from(sign: float) -> None:
    """As bfloat16 rounds logits, many are equal; the CPU's draw keeps the first as well."""
    rows, top_k = 40, 5
    logits = on(torch.full((rows, 64), sign))
    logits[:, 50] = sign + 1
    drawn = OPS.draw(logits, keys_of(rows), row(5.0, rows), on(torch.full((rows,), top_k)), 512)
    candidates = on(torch.tensor([50, 0, 1, 2, 3]))
    scores = logits[:, candidates] / 5.0 + gumbel(keys_of(rows)[:, None], candidates)
    assert torch.equal(drawn, candidates[scores.argmax(1)])
    assert set(drawn.tolist()) == set(candidates.tolist())


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:All-NaN")  # of the interpreter
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_no_numbers_give_some_token_of_the_model_and_change_no_other_row(value: float) -> None:
    logits = logits_of(3, 100)
    args = (keys_of(3), row(0.9, 3), on(torch.full((3,), 20)), 512)
    wanted = OPS.draw(logits, *args)
    logits[1] = value
    found = OPS.draw(logits, *args)
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])
    assert 0 <= found[1] < 100
