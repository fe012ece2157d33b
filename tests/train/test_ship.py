"""What the package brings of a model that was trained in floats."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import is_int8, load_model
from antiphon_cloud.model.lm import LanguageModel
from tools.clerk.train import ship


@pytest.fixture
def packed(golden: Path, tmp_path: Path) -> Path:
    """A model directory of floats, as train.pack leaves one."""
    model = Path(shutil.copytree(golden / "moshi-tiny", tmp_path / "packed"))
    (model / "tokenizer_spm_tiny.model").rename(model / "tokenizer.model")
    (model / "codec").mkdir()
    (model / "codec/codec.json").write_text("of the edge")
    return model


@pytest.fixture
def shipped(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in int8, in place of an earlier one in floats."""
    out = tmp_path / "shipped"
    out.mkdir()
    for old in ("model.safetensors", "mimi.safetensors", "README.md"):
        (out / old).write_text("old")
    monkeypatch.setattr(sys, "argv", ["ship", str(packed), str(out)])
    ship.main()
    return out


def loaded(model: Path, quantize: str | None = None) -> LanguageModel:
    directory = ModelDirectory.open(model)
    return load_model(directory, select(torch.device("cpu"), torch.float32, is_int8(directory, quantize)))


def test_floats_and_the_codec_that_is_not_exported_stay_at_home(packed: Path, shipped: Path) -> None:
    names = ["README.md", "codec", "config.json", "mimi_config.json", "model.q8.safetensors", "tokenizer.model"]
    assert sorted(path.name for path in shipped.iterdir()) == names
    assert (shipped / "codec/codec.json").read_text() == "of the edge"
    assert (shipped / ship.WEIGHTS).stat().st_size < 0.6 * (packed / "model.safetensors").stat().st_size
    assert (shipped / ship.WEIGHTS).stat().st_mode & 0o777 == 0o644


def test_its_matrices_are_those_of_quantize_int8_to_the_bit(packed: Path, shipped: Path) -> None:
    wanted, found = loaded(packed, "int8"), loaded(shipped)
    x = torch.randn(3, 1, 64, generator=torch.Generator().manual_seed(0))
    for name in ("text_linear", "transformer.layers.0.gating.linear_in", "transformer.layers.2.self_attn.in_projs.0"):
        assert torch.equal(found.get_submodule(name)(x), wanted.get_submodule(name)(x))


def test_its_tables_are_the_floats_but_for_a_step_of_int8(packed: Path, shipped: Path) -> None:
    wanted, found = loaded(packed, "int8"), loaded(shipped)
    for name in ("text_emb", "emb.0", "emb.15", "depformer_text_emb", "depformer_emb.6"):
        rows, values = (model.get_submodule(name).get_parameter("weight") for model in (wanted, found))
        assert values.dtype == torch.bfloat16
        largest = rows.float().abs().amax(1, keepdim=True)
        assert ((values.float() - rows.float()).abs() < largest * (0.5 / 127 + 2**-8)).all()


def test_norms_stay_as_they_are(packed: Path, shipped: Path) -> None:
    wanted, found = loaded(packed, "int8"), loaded(shipped)
    assert torch.equal(found.out_norm.alpha, wanted.out_norm.alpha)
