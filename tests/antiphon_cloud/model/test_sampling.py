"""Draws: of the right distribution, and a function of their place alone."""

import numpy as np
import pytest
import torch

from antiphon.spec import Sampling
from antiphon_cloud.model.sampling import GOLDEN_GAMMA, SlotSampling, gumbel, mix, noise_keys, sample

LOGITS = torch.tensor([1.3, -0.2, 2.0, 0.7, -3.0, 1.9, 0.0, 0.9])


def draw(
    logits: torch.Tensor, n: int, temperature: float, top_k: int, max_top_k: int = 8, stream: int = 0, seed: int = 7
) -> torch.Tensor:
    """Tokens of n steps of one seed."""
    keys = noise_keys(torch.tensor(seed), torch.arange(n), torch.tensor(stream))
    return sample(logits.expand(n, -1), keys, torch.full((n,), temperature), torch.full((n,), top_k), max_top_k)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 8), (0.7, 8), (1.5, 3), (0.8, 1), (1.0, 500)])
def test_frequencies_are_the_softmax_of_the_top_k(temperature: float, top_k: int) -> None:
    n = 40_000
    counts = torch.bincount(draw(LOGITS, n, temperature, top_k), minlength=8).double()
    kept = LOGITS.topk(min(top_k, 8)).indices
    wanted = torch.zeros(8, dtype=torch.float64)
    wanted[kept] = torch.softmax(LOGITS[kept].double() / temperature, 0) * n
    assert not counts[wanted == 0].any()
    chi_square = ((counts - wanted)[kept].square() / wanted[kept]).sum()
    assert chi_square < 24.3  # one in a thousand at 7 degrees of freedom; the seed is fixed


def test_gumbel_noise_has_its_mean_and_variance() -> None:
    noise = gumbel(
        noise_keys(torch.tensor(3), torch.arange(1000), torch.tensor(2))[:, None], torch.arange(200)
    ).double()
    assert noise.isfinite().all()
    assert abs(noise.mean() - 0.5772) < 0.01
    assert abs(noise.var() - np.pi**2 / 6) < 0.02


def test_neighbouring_seeds_steps_streams_and_tokens_are_independent() -> None:
    keys = torch.stack(
        [
            noise_keys(torch.tensor(seed), torch.arange(2000), torch.tensor(stream))
            for seed in (0, 1, -1)
            for stream in (0, 1)
        ]
    )  # [6, 2000]
    assert len(set(keys.flatten().tolist())) == keys.numel()
    noise = gumbel(keys[..., None], torch.arange(2)).double().permute(0, 2, 1).reshape(12, 2000)
    shifted = torch.cat((noise[:, :-1], noise[:, 1:]))  # a step later, too
    correlation = torch.corrcoef(shifted) - torch.eye(len(shifted))
    assert correlation.abs().max() < 0.1


def test_splitmix64_gives_its_published_stream() -> None:
    # the first outputs of the reference generator from state 0 (Vigna's splitmix64.c)
    found = mix((torch.arange(3) + 1) * GOLDEN_GAMMA)
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [value % (1 << 64) for value in found.tolist()] == wanted


def test_temperature_0_takes_the_likeliest() -> None:
    assert set(draw(LOGITS, 50, 0.0, 8).tolist()) == {2}
    assert set(draw(LOGITS, 50, 1.0, 1).tolist()) == {2}


def test_a_draw_depends_on_its_own_row_only() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(16, 300, generator=generator)
    keys = noise_keys(torch.arange(16), torch.arange(16) * 5, torch.tensor(3))
    temperature, top_k = torch.linspace(0, 1.5, 16), torch.arange(1, 33, 2)
    together = sample(logits, keys, temperature, top_k, 64)
    alone = [
        sample(logits[i : i + 1], keys[i : i + 1], temperature[i : i + 1], top_k[i : i + 1], 64) for i in range(16)
    ]
    assert torch.equal(together, torch.cat(alone))
    wider = sample(logits, keys, temperature, top_k, 256)
    assert torch.equal(together, wider)


def test_noise_belongs_to_the_token_not_to_its_rank() -> None:
    tied = LOGITS.clone()
    tied[5] = tied[2]
    above, below = tied.clone(), tied.clone()
    above[5] += 1e-4
    below[5] -= 1e-4  # tokens 2 and 5 trade ranks, by a hair
    changed = draw(above, 2000, 1.0, 8) != draw(below, 2000, 1.0, 8)
    assert changed.float().mean() < 0.005


def test_slots_take_seeds_of_64_bits() -> None:
    slots = SlotSampling.allocate(2, torch.device("cpu"))
    slots.set(0, 2**64 - 1, Sampling(0.5, 3, 0.25, 4))
    slots.set(1, 2**63, Sampling())
    assert slots.seeds.tolist() == [-1, -(2**63)]
    assert [slots.text_temperature[0], slots.text_top_k[0], slots.audio_temperature[0], slots.audio_top_k[0]] == [
        0.5, 3, 0.25, 4,
    ]  # fmt: skip
