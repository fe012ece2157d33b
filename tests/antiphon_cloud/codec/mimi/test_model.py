"""The codec in torch against the reference, however its stream is cut."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from antiphon_cloud.codec.mimi import Mimi, MimiConfig
from antiphon_cloud.codec.mimi.config import QuantizerConfig, SeanetConfig, TransformerConfig
from antiphon_cloud.codec.mimi.model import Decoder, Encoder
from tests.support.random_weights import RandomWeights

FRAME = 1920


@pytest.fixture(scope="module")
def mimi(golden: Path) -> Mimi:
    return Mimi.load(golden / "mimi-tiny/mimi.safetensors", golden / "mimi-tiny/mimi_config.json")


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "mimi-tiny/expected.safetensors")


@torch.no_grad()
def encode(encoder: Encoder, pcm: Tensor, frames_per_call: int) -> Tensor:
    """Codes [*, T, K] of samples [*, T · frame]."""
    state = encoder.initial_state(tuple(pcm.shape[:-1]))
    codes = []
    for stretch in torch.split(pcm, encoder.config.frame_samples * frames_per_call, -1):
        part, state = encoder(stretch, state)
        codes.append(part)
    return torch.cat(codes, -2)


@torch.no_grad()
def decode(decoder: Decoder, codes: Tensor, frames_per_call: int) -> Tensor:
    """Samples [*, T · frame] of codes [*, T, K]."""
    state = decoder.initial_state(tuple(codes.shape[:-2]))
    pcm = []
    for stretch in torch.split(codes, frames_per_call, -2):
        part, state = decoder(stretch, state)
        pcm.append(part)
    return torch.cat(pcm, -1)


def assert_close(actual: Tensor, expected: Tensor, relative: float) -> None:
    error = actual - expected
    assert error.abs().max() / expected.abs().max() < relative
    assert error.norm() / expected.norm() < relative


@pytest.mark.parametrize("frames_per_call", [1, 2, 7, 150])
def test_codes_equal_the_reference_however_the_stream_is_cut(
    mimi: Mimi, expected: dict[str, Tensor], frames_per_call: int
) -> None:
    assert torch.equal(encode(mimi.encoder, expected["pcm"], frames_per_call).int(), expected["codes"])


@pytest.mark.parametrize("frames_per_call", [1, 2, 7, 150])
def test_audio_equals_the_reference_however_the_stream_is_cut(
    mimi: Mimi, expected: dict[str, Tensor], frames_per_call: int
) -> None:
    assert_close(decode(mimi.decoder, expected["codes"], frames_per_call), expected["decoded"], 1e-4)


def test_a_batch_of_streams_is_each_stream_alone(mimi: Mimi, expected: dict[str, Tensor]) -> None:
    pcm = expected["pcm"][: 60 * FRAME].view(2, -1)
    alone = torch.stack([encode(mimi.encoder, stream, 1) for stream in pcm])
    assert torch.equal(encode(mimi.encoder, pcm, 1), alone)
    assert torch.equal(encode(mimi.encoder, pcm, 30), alone)
    audio = torch.stack([decode(mimi.decoder, codes, 1) for codes in alone])
    assert_close(decode(mimi.decoder, alone, 5), audio, 1e-5)


def test_a_state_can_be_kept_and_gone_back_to(mimi: Mimi, expected: dict[str, Tensor]) -> None:
    frames = torch.split(expected["pcm"], FRAME)
    with torch.no_grad():
        _, state = mimi.encoder(frames[0], mimi.encoder.initial_state())
        first, _ = mimi.encoder(frames[1], state)
        mimi.encoder(frames[2], state)
        again, _ = mimi.encoder(frames[1], state)
    assert torch.equal(first, again)


def test_gradients_reach_every_weight_on_both_sides_of_the_quantizer(mimi: Mimi, expected: dict[str, Tensor]) -> None:
    pcm = expected["pcm"][: 4 * FRAME]
    latent, _ = mimi.encoder.latent(pcm, mimi.encoder.initial_state())
    audio, _ = mimi.decoder.from_latent(latent, mimi.decoder.initial_state())
    try:
        audio.square().mean().backward()  # type: ignore[no-untyped-call]
        for half in (mimi.encoder, mimi.decoder):
            without = [
                name
                for name, weight in half.named_parameters()
                if weight.grad is None and not name.startswith("quantizer.")
            ]
            assert without == []
    finally:
        mimi.encoder.zero_grad()
        mimi.decoder.zero_grad()


ODD = MimiConfig(
    sample_rate=8_000,
    frame_rate=25.0,
    seanet=SeanetConfig(
        dimension=12,
        n_filters=3,
        n_residual_layers=3,
        ratios=(5, 4, 2, 1),
        kernel_size=5,
        residual_kernel_size=4,
        last_kernel_size=2,
        dilation_base=3,
        compress=1,
    ),
    transformer=TransformerConfig(
        d_model=8,
        num_heads=2,
        num_layers=1,
        dim_feedforward=10,
        context=17,
        max_period=500,
        layer_scale=None,
        input_dimension=12,
        output_dimension=12,
    ),
    quantizer=QuantizerConfig(dimension=6, n_q=5, n_q_semantic=2, bins=30),
)


def test_other_sizes_stream_as_they_run_at_once() -> None:
    ODD.check()
    weights = RandomWeights(seed=1)
    encoder, decoder = Encoder(weights, ODD, codebooks=4), Decoder(weights, ODD, codebooks=4)
    pcm = torch.randn(40 * ODD.frame_samples, generator=torch.Generator().manual_seed(0))
    codes = encode(encoder, pcm, 1)
    assert codes.shape == (40, 4)
    assert len(set(codes.flatten().tolist())) > 10
    assert torch.equal(encode(encoder, pcm, 40), codes)
    assert_close(decode(decoder, codes, 40), decode(decoder, codes, 1), 1e-5)


def test_no_resampling_where_the_frame_is_one_hop() -> None:
    config = MimiConfig(
        sample_rate=8_000, frame_rate=200.0, seanet=ODD.seanet, transformer=ODD.transformer, quantizer=ODD.quantizer
    )
    config.check()
    weights = RandomWeights()
    encoder, decoder = Encoder(weights, config, codebooks=2), Decoder(weights, config, codebooks=2)
    pcm = torch.randn(50 * 40, generator=torch.Generator().manual_seed(0))
    codes = encode(encoder, pcm, 1)
    assert torch.equal(encode(encoder, pcm, 10), codes)
    assert decode(decoder, codes, 1).shape == pcm.shape
