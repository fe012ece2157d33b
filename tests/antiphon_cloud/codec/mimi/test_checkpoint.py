"""Mimi's published file: spellings that mean the same, and damage that is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from antiphon_cloud.codec.mimi import Mimi
from antiphon_cloud.errors import CheckpointError, ConfigError

LAYER = "encoder_transformer.transformer.layers.0"


def load(golden: Path, path: Path, codebooks: int = 8) -> Mimi:
    return Mimi.load(path, golden / "mimi-tiny/mimi_config.json", codebooks)


def changed(golden: Path, folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    tensors = load_file(golden / "mimi-tiny/mimi.safetensors")
    change(tensors)
    save_file(tensors, folder / "mimi.safetensors")
    return folder / "mimi.safetensors"


def split_projections(tensors: dict[str, Tensor]) -> None:
    for name in list(tensors):
        for fused, split in ((".in_proj_weight", ".in_projs.0.weight"), (".out_proj.weight", ".out_projs.0.weight")):
            if name.endswith(f"self_attn{fused}"):
                tensors[name.replace(fused, split)] = tensors.pop(name)


def test_split_projections_are_the_fused_ones(golden: Path, tmp_path: Path) -> None:
    fused = load(golden, golden / "mimi-tiny/mimi.safetensors")
    split = load(golden, changed(golden, tmp_path, split_projections))
    for one, other in zip(fused.encoder.parameters(), split.encoder.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"{LAYER}.linear1.weight"), f"{LAYER}.linear1.weight is missing"),
        (lambda t: t.pop(f"{LAYER}.self_attn.in_proj_weight"), f"{LAYER}.self_attn.in_proj_weight is missing"),
        (lambda t: t.update({f"{LAYER}.norm1.bias": torch.zeros(3)}), "norm1.bias has shape [3], expected [32]"),
        (
            lambda t: t.update({f"{LAYER}.norm1.bias": torch.zeros(32, dtype=torch.int32)}),
            "norm1.bias has dtype torch.int32, expected floating point",
        ),
        (
            lambda t: t.pop("quantizer.rvq_rest.vq.layers.30._codebook.cluster_usage"),
            "layers.30._codebook.cluster_usage is missing",  # a codebook that is not even used
        ),
        (lambda t: t.update(surplus=torch.zeros(1)), "tensor surplus has no place"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named_with_its_tensor(
    golden: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    path = changed(golden, tmp_path, change)
    with pytest.raises(CheckpointError) as caught:
        load(golden, path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_unreadable_checkpoints_are_named(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "mimi.safetensors"
    with pytest.raises(CheckpointError, match=r"mimi\.safetensors: cannot be read"):
        load(golden, path)
    path.write_bytes((golden / "mimi-tiny/mimi.safetensors").read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match=r"mimi\.safetensors: not a whole safetensors file"):
        load(golden, path)


@pytest.mark.parametrize("codebooks", [0, 33])
def test_codebooks_are_those_of_the_model(golden: Path, codebooks: int) -> None:
    with pytest.raises(ConfigError, match=f"{codebooks} codebooks asked for, the codec has 1 to 32"):
        load(golden, golden / "mimi-tiny/mimi.safetensors", codebooks)
