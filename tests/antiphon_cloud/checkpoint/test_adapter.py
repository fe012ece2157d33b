"""An adapter's file: what it may hold, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from antiphon.errors import AntiphonError
from antiphon_cloud.checkpoint.adapter import AdapterFile
from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.model.config import ModelConfig
from tests.support.adapters import Tensors, adapter_tensors, save_adapter
from tests.support.language_models import MICRO

CONFIG = ModelConfig(lm=MICRO)
TENSORS = adapter_tensors(MICRO, 2)


def opened(path: Path, config: ModelConfig = CONFIG) -> AdapterFile:
    return AdapterFile(AdapterPaths.of(path), config)


def refused(path: Path, told: str) -> None:
    with pytest.raises(AntiphonError, match=told):
        opened(path)


def test_factors_are_read_with_the_scaling_in_the_second(tmp_path: Path) -> None:
    path = save_adapter(tmp_path / "a.safetensors", TENSORS, lora_rank=2, lora_scaling=0.5, dim=16)
    with opened(path) as file:
        assert set(file.matrices) == {name.removesuffix(".lora_A.weight") for name in TENSORS if "lora_A" in name}
        down, up = file.read("text_linear")
    assert torch.equal(down, TENSORS["text_linear.lora_A.weight"])
    assert torch.equal(up, 0.5 * TENSORS["text_linear.lora_B.weight"].t())


def test_settings_may_lie_in_a_folder_or_in_the_metadata_or_nowhere(tmp_path: Path) -> None:
    save_adapter(tmp_path / "a/lora.safetensors", TENSORS)
    (tmp_path / "a/config.json").write_text(json.dumps({"lora_rank": 2, "lora_scaling": 4, "model_type": "moshi"}))
    within = save_adapter(tmp_path / "b.safetensors", TENSORS, {"lora_scaling": "3.5", "format": "pt"})
    nowhere = save_adapter(tmp_path / "c.safetensors", TENSORS)
    found = []
    for path in (tmp_path / "a", within, nowhere):
        with opened(path) as file:
            assert file.rank == 2
            found.append(file.settings.lora_scaling)
    assert found == [4, 3.5, 2]


@pytest.mark.parametrize("split", [True, False], ids=["split", "fused"])
def test_projections_may_be_fused(split: bool, tmp_path: Path) -> None:
    tensors = TENSORS
    if not split:
        fused: dict[str, list[torch.Tensor]] = {}
        for name, tensor in tensors.items():
            fused.setdefault(re.sub(r"_projs\.\d+", "_proj", name), []).append(tensor)
        tensors = {name: torch.cat(parts) for name, parts in fused.items()}
    with opened(save_adapter(tmp_path / "a.safetensors", tensors, lora_rank=2, lora_scaling=1.0)) as file:
        down, up = file.read("depformer.layers.0.self_attn.in_projs.2")
    assert torch.equal(down, TENSORS["depformer.layers.0.self_attn.in_projs.2.lora_A.weight"])
    assert torch.equal(up.t(), TENSORS["depformer.layers.0.self_attn.in_projs.2.lora_B.weight"])


def test_factors_of_weight_sets_that_nobody_loads_are_left_out(tmp_path: Path) -> None:
    whole = adapter_tensors(replace(MICRO, dep_q=5), 2)
    config = ModelConfig(lm=MICRO, published=replace(MICRO, dep_q=5))
    with opened(save_adapter(tmp_path / "a.safetensors", whole), config) as file:
        assert "linears.2" in file.matrices
        assert "linears.3" not in file.matrices
    refused(tmp_path / "a.safetensors", r"linears\.3\.lora_A\.weight: unexpected|\.3\..*unexpected")


def test_it_is_known_again_by_its_factors_and_its_scaling(tmp_path: Path) -> None:
    found = {}
    other = adapter_tensors(MICRO, 2, seed=1)
    for name, tensors, scaling in (("a", TENSORS, 2.0), ("b", TENSORS, 2.0), ("c", TENSORS, 1.0), ("d", other, 2.0)):
        with opened(save_adapter(tmp_path / f"{name}.safetensors", tensors, lora_scaling=scaling)) as file:
            found[name] = file.sha256
    assert found["a"] == found["b"]
    assert len({*found.values()}) == 3
    assert len(found["a"]) == 32


FIRST = "transformer.layers.0.self_attn.out_projs.0"


@pytest.mark.parametrize(
    ("tensors", "settings", "told"),
    [
        (TENSORS | {"emb.0.weight": torch.zeros(25, 16)}, {}, r"replaces emb\.0\.weight as a whole.*merge it"),
        (adapter_tensors(replace(MICRO, dim=32), 2), {}, r"expected shape \[.*\], found \["),
        (adapter_tensors(replace(MICRO, num_layers=3), 2), {}, r"layers\.2\..*unexpected"),
        (TENSORS, {"lora_rank": 4}, r"expected shape \[4, .*\], found \[2, "),
        (TENSORS, {"lora_rank": "many"}, r"lora_rank: expected"),
        (TENSORS, {"lora_scaling": 1e9}, r"lora_scaling: expected"),
        ({f"{FIRST}.lora_A.weight": torch.zeros(2, 16)}, {}, r"lora_B\.weight: missing"),
        ({"depformer.weight": torch.zeros(1)}, {}, r"no adapter"),
        ({"a.lora_A.weight": torch.zeros(2, 2)}, {}, r"a\.lora_A\.weight: unexpected"),
    ],
    ids=[
        "whole tensors", "other shapes", "more layers", "another rank", "no rank", "no scaling", "half a pair",
        "no factors", "another model",
    ],
)  # fmt: skip
def test_what_is_no_adapter_of_the_model_is_named(
    tensors: Tensors, settings: dict[str, Any], told: str, tmp_path: Path
) -> None:
    refused(save_adapter(tmp_path / "a.safetensors", tensors, **settings), told)


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"PK\x03\x04 a zip, as torch.save writes it")
    refused(tmp_path / "a.safetensors", r"a\.safetensors: not a whole safetensors file")
    refused(tmp_path / "gone.safetensors", r"gone\.safetensors: cannot be read")
