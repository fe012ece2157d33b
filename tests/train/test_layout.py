from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from antiphon_cloud.codec.mimi import Decoder, Encoder, Mimi, MimiConfig, Weights
from tools.clerk.train.layout import DERIVED, Initial, Published, save

FRAME = 1920


@pytest.fixture(scope="module")
def config(golden: Path) -> MimiConfig:
    return MimiConfig.load(golden / "mimi-tiny/mimi_config.json")


def train_a_little(module: nn.Module, published: Published, loss: Callable[[], Tensor]) -> None:
    optimizer = torch.optim.Adam([p for name, p in module.named_parameters() if DERIVED not in name], 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        published.tie_gradients(module)
        optimizer.step()


def test_what_was_trained_is_what_the_published_file_gives(config: MimiConfig, golden: Path, tmp_path: Path) -> None:
    start = Initial(0)
    encoder, decoder = Encoder(start, config, fold=False), Decoder(start, config, fold=False)
    pcm = 0.1 * torch.randn(1, 4 * FRAME, generator=torch.Generator().manual_seed(1))
    codes = torch.randint(2048, (1, 4, 8), generator=torch.Generator().manual_seed(2))

    def build_encoder(weights: Weights) -> Encoder:
        return Encoder(weights, config, fold=False)

    def build_decoder(weights: Weights) -> Decoder:
        return Decoder(weights, config, fold=False)

    halves = ((encoder, Published(build_encoder)), (decoder, Published(build_decoder)))
    train_a_little(encoder, halves[0][1], lambda: encoder.latent(pcm, encoder.initial_state((1,)))[0].square().mean())
    train_a_little(decoder, halves[1][1], lambda: decoder(codes, decoder.initial_state((1,)))[0].square().mean())
    tensors = halves[0][1].tensors(encoder) | {
        name: tensor for name, tensor in halves[1][1].tensors(decoder).items() if "embedding_sum" not in name
    }
    save(tmp_path / "mimi.safetensors", tensors)

    loaded = Mimi.load(tmp_path / "mimi.safetensors", golden / "mimi-tiny/mimi_config.json")
    with torch.no_grad():
        latent = loaded.encoder.latent(pcm, loaded.encoder.initial_state((1,)))[0]
        assert_close(latent, encoder.latent(pcm, encoder.initial_state((1,)))[0], rtol=1e-5, atol=1e-6)
        zeros = torch.zeros(1, 4, config.seanet.dimension)
        made = loaded.decoder.from_latent(zeros, loaded.decoder.initial_state((1,)))[0]
        assert_close(made, decoder.from_latent(zeros, decoder.initial_state((1,)))[0], rtol=1e-5, atol=1e-6)
        assert made.abs().max() > 0
