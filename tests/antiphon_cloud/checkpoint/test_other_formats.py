"""Files of other programs are recognized, and the sentence says what to download instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from antiphon.errors import AntiphonError
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.config_file import parse_config
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import load_model
from antiphon_cloud.errors import CheckpointError, ConfigError
from tests.support.language_models import copy_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 15379904521\n"
INSTEAD = "download the model's PyTorch version, whose repository has no -mlx, -candle or -gguf in its name"


def refusal(root: Path) -> str:
    with pytest.raises(AntiphonError) as raised:
        load_model(ModelDirectory.open(root), select(torch.device("cpu"), torch.float32, int8=False))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def model(tmp_path: Path, **changes: Any) -> Path:
    root = copy_model("moshi-tiny", tmp_path / "model", **changes)
    (root / "model.safetensors").unlink()
    return root


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_spm_tiny.model", "config.json", "mimi.safetensors"])
def test_a_git_lfs_pointer_is_no_file(name: str, tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    (root / name).unlink()
    (root / name).write_bytes(POINTER)

    def read() -> None:
        directory = ModelDirectory.open(root)
        _ = directory.tokenizer, directory.mimi, directory.weight_files

    with pytest.raises(AntiphonError, match=rf"{name}: a Git LFS pointer, not the file itself; run git lfs pull"):
        read()


@pytest.mark.parametrize("name", ["model.q8.gguf", "model.safetensors"])
def test_a_gguf_file_is_named(name: str, tmp_path: Path) -> None:
    root = model(tmp_path, moshi_name=name)
    (root / name).write_bytes(b"GGUF\3\0\0\0")
    assert refusal(root) == f"{root / name}: a GGUF file, as candle and llama.cpp read them; {INSTEAD}"


@pytest.mark.parametrize("name", ["model.q8.gguf", "model.q4.safetensors", "model.q4.gguf"])
def test_files_of_another_program_in_the_place_of_the_weights_are_named(name: str, tmp_path: Path) -> None:
    root = model(tmp_path)
    (root / name).touch()
    assert f"no such file; {name} is beside it, which is for candle or MLX: {INSTEAD}" in refusal(root)


@pytest.mark.parametrize(("name", "how"), [("consolidated.safetensors", ""), ("model.q8.safetensors", "quantize")])
def test_weights_under_another_name_are_pointed_at(name: str, how: str, tmp_path: Path) -> None:
    root = model(tmp_path)
    (root / name).touch()
    found = refusal(root)
    assert f'{name} is beside it: to load that, write "moshi_name": "{name}"' in found
    assert how in found


@pytest.mark.parametrize(
    ("tensor", "program"),
    [
        ("audio_embs.0.weight", "MLX"), ("depformer.slices.0.linear_in.weight", "MLX"),
        ("text_emb.scales", "MLX"), ("transformer.layers.0.self_attn.in_proj.biases", "MLX"),
        ("depformer.0.linear_in.weight", "candle"),
        ("decoder.model.layers.0.mlp.fc1.weight", "the transformers library"),
    ],
)  # fmt: skip
def test_tensors_of_another_program_are_named(tensor: str, program: str, tmp_path: Path) -> None:
    root = model(tmp_path, moshi_name="model.q4.safetensors")
    save_file({tensor: torch.ones(1), "text_emb.weight": torch.ones(1)}, root / "model.q4.safetensors")
    found = refusal(root)
    assert found == f"{root / 'model.q4.safetensors'}: holds {tensor}, as the weights of {program} do; {INSTEAD}"


@pytest.mark.parametrize(
    ("raw", "program"),
    [
        ({"architectures": ["MoshiForConditionalGeneration"], "model_type": "moshi", "hidden_size": 4096},
         "architectures: a configuration of the transformers library"),
        ({"lm_config": {"dim": 4096, "moshi_name": "model.safetensors"}}, "lm_config: a configuration of candle"),
    ],
)  # fmt: skip
def test_configurations_of_another_program_are_named(raw: dict[str, Any], program: str) -> None:
    with pytest.raises(ConfigError, match=f"{program}; {INSTEAD}"):
        parse_config(raw, "config.json")


@pytest.mark.parametrize("name", ["hf://a/b/../../../x.safetensors", "hf://../b/x.safetensors", "hf://a/./x"])
def test_a_hub_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    root = model(tmp_path, moshi_name=name)
    with pytest.raises(ConfigError, match="expected hf://org/repo/path"):
        ModelDirectory.open(root).require_weights()


def test_a_missing_file_beside_nothing_is_only_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: no such file; config\.json's moshi_name"):
        ModelDirectory.open(tmp_path).require_weights()
