"""Which file is what."""

import os
from pathlib import Path

import pytest

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.model.config import LMConfig
from tests.support.language_models import GOLDEN, copy_model


def test_names_come_from_config_json() -> None:
    root = GOLDEN / "moshi-tiny-q8"
    directory = ModelDirectory.open(root)
    assert directory.weights == root / "model.q8.safetensors"
    assert directory.mimi == root / "mimi.safetensors"
    assert directory.mimi_config == root / "mimi_config.json"
    assert directory.tokenizer == root / "tokenizer_spm_tiny.model"
    assert directory.lora is None
    assert (directory.codec, directory.name) == (root / "codec", "moshi-tiny-q8")


def test_without_config_json_it_is_the_7b_model(tmp_path: Path) -> None:
    directory = ModelDirectory.open(tmp_path)
    assert directory.config.lm == LMConfig()
    assert directory.mimi_config is None
    (tmp_path / "tokenizer-e351c8d8-checkpoint125.safetensors").touch()
    (tmp_path / "tokenizer_spm_32k_3.model").touch()
    assert directory.mimi.name == "tokenizer-e351c8d8-checkpoint125.safetensors"
    assert directory.tokenizer.name == "tokenizer_spm_32k_3.model"
    with pytest.raises(CheckpointError, match=r"model\.safetensors: no such file; config\.json's moshi_name"):
        _ = directory.weights


@pytest.mark.parametrize("link", [False, True], ids=["itself", "by a link"])
def test_a_download_cache_gives_the_repositorys_name(link: bool, tmp_path: Path) -> None:
    root = tmp_path / "hub" / "models--kyutai--moshiko-pytorch-bf16" / "snapshots" / ("2f3a" * 10)
    root.mkdir(parents=True)
    if link:
        (tmp_path / "model").symlink_to(root)
        root = tmp_path / "model"
    assert ModelDirectory.open(root).name == "kyutai/moshiko-pytorch-bf16"


def test_a_bare_codec_is_found() -> None:
    directory = ModelDirectory.open(GOLDEN / "mimi-tiny")
    assert directory.mimi == GOLDEN / "mimi-tiny" / "mimi.safetensors"
    assert directory.mimi_config == GOLDEN / "mimi-tiny" / "mimi_config.json"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pickle", "model"])
def test_pickles_are_refused(name: str, tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model", moshi_name=name)
    (root / name).write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"moshi_name must name a \.safetensors file"):
        _ = ModelDirectory.open(root).weights


@pytest.mark.parametrize("name", ["absolute", "relative"])
def test_file_urls_name_local_files(name: str, tmp_path: Path) -> None:
    weights = GOLDEN / "moshi-tiny" / "model.safetensors"
    url = f"file://{weights}" if name == "absolute" else "file://model.safetensors"
    root = copy_model("moshi-tiny", tmp_path / "model", moshi_name=url)
    assert ModelDirectory.open(root).weights == (weights if name == "absolute" else root / "model.safetensors")


def test_hub_files_are_looked_for_here_and_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    root = copy_model("moshi-tiny", tmp_path / "model", mimi_name="hf://kyutai/mimi/weights/codec.safetensors")
    directory = ModelDirectory.open(root)
    with pytest.raises(CheckpointError, match=r"download hf://kyutai/mimi/weights/codec\.safetensors and put it"):
        _ = directory.mimi
    cache = tmp_path / "hf" / "hub" / "models--kyutai--mimi"
    cached = cache / "snapshots" / "abc" / "weights" / "codec.safetensors"
    for path, text in ((cached, ""), (cache / "refs" / "main", "abc")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert directory.mimi == cached
    (root / "codec.safetensors").touch()
    assert directory.mimi == root / "codec.safetensors"


def test_bad_names_and_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such directory"):
        ModelDirectory.open(tmp_path / "nowhere")
    root = copy_model("moshi-tiny", tmp_path / "model", tokenizer_name="gone.model", mimi_name="hf://kyutai")
    with pytest.raises(CheckpointError, match=r"gone\.model: no such file; config\.json's tokenizer_name"):
        _ = ModelDirectory.open(root).tokenizer
    with pytest.raises(ConfigError, match="mimi_name: expected hf://org/repo/path"):
        _ = ModelDirectory.open(root).mimi


def test_a_pipe_as_config_and_a_name_that_leads_out_of_a_repository_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ConfigError, match=r"config\.json: is no regular file"):
        ModelDirectory.open(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text('{"mimi_name": "hf://org/repo/../../secret.safetensors"}')
    with pytest.raises(ConfigError, match=r"expected hf://org/repo/path, got hf://org/repo/\.\./\.\./secret"):
        _ = ModelDirectory.open(tmp_path).mimi
