"""`rope_concat`: rows of queries and keys that files hold in another order, whatever form the matrix has."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.backends.int8 import LEVELS, quantize_rows
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.adapter import AdapterFile
from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import is_int8, load_model
from antiphon_cloud.model.layers import Layer, Linear, rope
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Ops
from tests.support.adapters import adapter_tensors, save_adapter
from tests.support.language_models import GOLDEN, copy_model

CASE = "hibiki-zero-tiny"
PUBLISHED = "transformer.layers.1.self_attn.in_proj_weight"
NAME = "transformer.layers.1.self_attn.in_projs.0"
WIDTH, HEADS, KV_HEADS = 8, 4, 2


def load(root: Path, quantize: str | None = None) -> LanguageModel:
    directory = ModelDirectory.open(root)
    return load_model(directory, select(torch.device("cpu"), torch.float32, is_int8(directory, quantize)))


def turned(x: Tensor, rotation: Tensor) -> Tensor:
    """x [B, H, T, D] as the files mean it: channel i and channel i + D / 2 are a pair."""
    real, imaginary = x.chunk(2, -1)
    cos, sin = rotation.unbind(0)
    return torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), -1)


def test_scores_are_those_of_the_files_pairs() -> None:
    ops, file = Ops(load(GOLDEN / CASE)), load_file(GOLDEN / CASE / "model.safetensors")
    layer = ops.model.transformer.layers[1]
    assert isinstance(layer, Layer)
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    rotation = rope(torch.arange(3, 8)[None], WIDTH, ops.model.config.max_period)
    q, k, v = ops.qkv(layer, x, (0,), rotation)
    heads = F.linear(layer.norm1(x), file[PUBLISHED].float()).view(1, 5, -1, WIDTH).transpose(1, 2)
    wanted_q, wanted_k, wanted_v = torch.split(heads, [HEADS, KV_HEADS, KV_HEADS], 1)
    group = HEADS // KV_HEADS
    for h in range(HEADS):
        found = q[0, h] @ k[0, h // group].T
        wanted = turned(wanted_q, rotation)[0, h] @ turned(wanted_k, rotation)[0, h // group].T
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(v, wanted_v)


def in_int8(root: Path) -> None:
    """Makes the directory one of matrices in int8, as files of this family hold them: rows and their scales."""
    path, floats = root / "model.safetensors", load(root)
    linears = {name for name, module in floats.named_modules() if isinstance(module, Linear)}
    fused = {f"{name.split('_projs.')[0]}_proj" for name in linears if "_projs." in name}
    tensors: dict[str, Tensor] = {}
    for name, value in load_file(path).items():
        if name.removesuffix(".weight").removesuffix("_weight") in linears | fused:
            rows, scale = quantize_rows(value.float())
            tensors |= {name: rows, f"{name}_scb": scale * LEVELS}
        else:
            tensors[name] = value
    path.unlink()
    save_file(tensors, path)
    config = json.loads((root / "config.json").read_text())
    (root / "config.json").write_text(json.dumps(config | {"quantize": True}))


def test_rows_in_int8_move_with_their_scales(tmp_path: Path) -> None:
    in_int8(copy_model(CASE, tmp_path / "model"))
    published, quantized = load(tmp_path / "model"), load(GOLDEN / CASE, quantize="int8")
    x = torch.randn(3, 1, 32, generator=torch.Generator().manual_seed(0))
    for layer in range(2):
        name = f"transformer.layers.{layer}.self_attn.in_projs.0"
        assert not isinstance(published.get_submodule(name), Linear)
        assert torch.equal(published.get_submodule(name)(x), quantized.get_submodule(name)(x))


def test_an_adapters_rows_move_with_those_that_it_is_added_to(tmp_path: Path) -> None:
    """Merged while loading, and beside the weights: as if it had been added to the published matrix."""
    base = load(GOLDEN / CASE)
    tensors = adapter_tensors(base.config, 2, only="transformer.")
    down, up = (tensors[f"{NAME}.lora_{side}.weight"] for side in "AB")
    added = copy_model(CASE, tmp_path / "added")
    file = load_file(added / "model.safetensors")
    file[PUBLISHED] = file[PUBLISHED].float() + 2.0 * up @ down
    (added / "model.safetensors").unlink()
    save_file(file, added / "model.safetensors")
    wanted = load(added).get_parameter(f"{NAME}.weight")

    merged = copy_model(CASE, tmp_path / "merged", lora=True, lora_rank=2, lora_scaling=2.0)
    save_file(tensors, merged / "lora.safetensors")
    torch.testing.assert_close(load(merged).get_parameter(f"{NAME}.weight"), wanted)

    path = save_adapter(tmp_path / "a.safetensors", tensors, lora_rank=2, lora_scaling=2.0)
    with AdapterFile(AdapterPaths.of(path), ModelDirectory.open(GOLDEN / CASE).config) as beside:
        down, up = beside.read(NAME)
    torch.testing.assert_close(base.get_parameter(f"{NAME}.weight") + up.T @ down, wanted)


def test_no_other_row_moves() -> None:
    model, file = load(GOLDEN / CASE), load_file(GOLDEN / CASE / "model.safetensors")
    values = slice((HEADS + KV_HEADS) * WIDTH, None)
    assert torch.equal(model.get_parameter(f"{NAME}.weight")[values], file[PUBLISHED][values].float())
    depformer = [model.get_parameter(f"depformer.layers.0.self_attn.in_projs.{i}.weight") for i in range(5)]
    assert torch.equal(torch.cat(list(depformer)), file["depformer.layers.0.self_attn.in_proj_weight"].float())
