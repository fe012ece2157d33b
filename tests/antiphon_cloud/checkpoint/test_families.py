"""Members of the family whose files or sizes are not as Moshi's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.config_file import parse_config
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import load_model
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.lm import LanguageModel
from tests.support.told_models import HIBIKI, TTS, write_model

SIZES: dict[str, Any] = {
    "dim": 16, "num_heads": 2, "num_layers": 1, "context": 20, "n_q": 6, "dep_q": 6, "card": 24, "text_card": 20,
    "delays": [0, 0, 1, 1, 0, 1, 1], "depformer_dim": 8, "depformer_num_heads": 2, "depformer_num_layers": 2,
    "depformer_dim_feedforward": 24,
}  # fmt: skip
PUBLISHED = {"model_type": "personaplex", "version": "7b-v1"}


def personaplex(
    folder: Path, *, split: bool = False, without: str = "", more: dict[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """A small one as it is published: six weight sets, of which three are the user's; returns its tensors, split."""
    model = LanguageModel(parse_config(SIZES | {"dep_q": 5, "model_type": "moshi"}, "").lm)
    model = LanguageModel(replace(model.config, dep_q=6))
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(value.shape, generator=generator) for name, value in model.state_dict().items()}
    files = {name: value for name, value in tensors.items() if split or "_projs." not in name}
    for layer in () if split else ("transformer.layers.0", "depformer.layers.0", "depformer.layers.1"):
        for kind, fused in (("in", "in_proj_weight"), ("out", "out_proj.weight")):
            parts = [value for name, value in tensors.items() if name.startswith(f"{layer}.self_attn.{kind}_projs.")]
            files[f"{layer}.self_attn.{fused}"] = torch.cat(parts)
    files.pop(without, None)
    save_file(files | (more or {}), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(SIZES | PUBLISHED))
    return tensors


def load(folder: Path, codebooks: int | None = None) -> LanguageModel:
    return load_model(ModelDirectory.open(folder, codebooks), select(torch.device("cpu"), torch.float32, int8=False))


def test_personaplexs_two_keys_are_the_7b_without_the_users_codebooks() -> None:
    """Its reference's tokens follow from a context of one step less, which `personaplex-tiny` says of 70."""
    config = parse_config(PUBLISHED, "config.json")
    assert config.lm == replace(LMConfig(), context=2999)
    assert (config.lm.dep_q, config.lm.user_codebooks) == (8, 8)
    assert config.published == replace(config.lm, dep_q=16)
    assert parse_config(PUBLISHED | {"dep_q": 8}, "config.json").published is None


def test_only_personaplex_has_a_version() -> None:
    with pytest.raises(ConfigError, match="unknown key version"):
        parse_config({"model_type": "moshi", "version": "7b-v1"}, "config.json")


@pytest.mark.parametrize("split", [False, True], ids=["fused", "split"])
def test_personaplexs_weights_of_the_users_codebooks_are_not_loaded(split: bool, tmp_path: Path) -> None:
    tensors = personaplex(tmp_path, split=split)
    model = load(tmp_path)
    assert (model.config.dep_q, model.config.user_codebooks) == (3, 3)
    found = model.state_dict()
    assert set(found) < set(tensors)
    for name, value in found.items():
        assert torch.equal(value, tensors[name]), name


@pytest.mark.parametrize(
    ("without", "more", "told"),
    [
        ("linears.2.weight", {}, r"linears\.2\.weight: missing"),
        ("", {"linears.6.weight": torch.zeros(24, 8)}, r"linears\.6\.weight: unexpected"),
    ],
)
def test_what_else_is_missing_or_there_is_refused(
    without: str, more: dict[str, torch.Tensor], told: str, tmp_path: Path
) -> None:
    personaplex(tmp_path, without=without, more=more)
    with pytest.raises(CheckpointError, match=told):
        load(tmp_path)


@pytest.mark.parametrize("config", [HIBIKI, TTS], ids=["hibiki", "tts"])
def test_a_model_that_is_told_something_is_loaded_as_it_is_published(config: dict[str, Any], tmp_path: Path) -> None:
    tensors = write_model(tmp_path, config)
    if config is HIBIKI:  # an early end is heard as padding
        tensors["text_emb.weight"][2] = tensors["text_emb.weight"][3]
    found = load(tmp_path).state_dict()
    assert set(found) == set(tensors)
    for name, value in found.items():
        assert torch.equal(value, tensors[name]), name


def test_of_codebooks_that_are_not_generated_only_what_is_heard_is_loaded(tmp_path: Path) -> None:
    tensors = write_model(tmp_path, TTS)
    model = load(tmp_path, codebooks=2)
    assert (model.config.dep_q, model.config.user_codebooks, model.config.silent_codebooks) == (2, 0, 3)
    assert (model.config.weight_sets, len(model.emb), len(model.linears), len(model.depformer_in)) == ((0, 1), 5, 2, 2)
    for name, value in model.state_dict().items():
        assert torch.equal(value, tensors[name]), name
