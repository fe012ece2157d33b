"""Weights in several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from antiphon.spec import GREEDY
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.files.shards import shards
from antiphon_cloud.checkpoint.fingerprint import model_fingerprint
from antiphon_cloud.checkpoint.load import load_model
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.runner.replay import replay
from tests.support.language_models import GOLDEN, copy_model, expected

CASES = {"moshi-tiny": "model.safetensors", "moshi-tiny-q8": "model.q8.safetensors"}


def split(root: Path, name: str = "model.safetensors", parts: int = 3) -> Path:
    """Cuts a model's weights into files, as other tools save them; returns the index."""
    tensors = load_file(root / name)
    (root / name).unlink()
    weight_map: dict[str, str] = {}
    for part in range(parts):
        file = f"{Path(name).stem}-{part + 1:05}-of-{parts:05}.safetensors"
        held = dict(sorted(tensors.items())[part::parts])
        save_file(held, root / file)
        weight_map |= dict.fromkeys(held, file)
    index = root / f"{name}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("case", CASES)
def test_several_files_are_the_model_that_one_file_was(case: str, tmp_path: Path) -> None:
    root = copy_model(case, tmp_path / "model")
    split(root, CASES[case])
    directory = ModelDirectory.open(root)
    wanted = expected(case)
    found = replay(directory, wanted["user_codes"][:6], sampling=GREEDY)
    np.testing.assert_array_equal(found["tokens"], wanted["tokens"][:5])
    one = ModelDirectory.open(GOLDEN / case)
    assert model_fingerprint(directory, False) == model_fingerprint(one, False)


def test_the_index_may_be_named_itself(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model", moshi_name="model.safetensors.index.json")
    index = split(root)
    assert ModelDirectory.open(root).weight_files == shards(index)
    assert [path.name for path in shards(index)] == [f"model-{part:05}-of-00003.safetensors" for part in (1, 2, 3)]


def test_an_index_in_the_download_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    cache = tmp_path / "hf" / "hub" / "models--me--mine"
    snapshot = copy_model("moshi-tiny", cache / "snapshots" / "abc")
    index = split(snapshot)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    root = copy_model("moshi-tiny", tmp_path / "model", moshi_name="hf://me/mine/model.safetensors")
    (root / "model.safetensors").unlink()
    assert ModelDirectory.open(root).weight_files == shards(index)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    split(root)
    (root / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(
        CheckpointError,
        match=r"model-00002-of-00003\.safetensors: no such file; model\.safetensors\.index\.json names it: download",
    ):
        ModelDirectory.open(root).require_weights()


def test_a_tensor_that_is_in_no_part_is_named(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    split(root)
    part = root / "model-00001-of-00003.safetensors"
    tensors = load_file(part)
    name = next(name for name in tensors if name.startswith("emb."))
    save_file({key: value for key, value in tensors.items() if key != name}, part)
    with pytest.raises(CheckpointError, match=rf"{name}: missing; expected"):
        load_model(ModelDirectory.open(root), select(torch.device("cpu"), torch.float32, int8=False))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not an index"), ("[]", "not an index"), ("{}", "not an index"),
        ({"weight_map": {"a": 3}}, "not an index"), ({"weight_map": {}}, "names 0 files"),
        ({"weight_map": {"a": "../model.safetensors"}}, r"names '\.\./model\.safetensors', which is no"),
        ({"weight_map": {"a": "/etc/passwd"}}, "names '/etc/passwd', which is no"),
        ({"weight_map": {"a": "sub/x.safetensors"}}, "which is no .safetensors file beside it"),
        ({"weight_map": {"a": ".."}}, "which is no"), ({"weight_map": {"a": ""}}, "which is no"),
        ({"weight_map": {"a": "model.bin"}}, r"names 'model\.bin', which is no"),
        ({"weight_map": {str(i): f"{i}.safetensors" for i in range(513)}}, "names 513 files"),
    ],
)  # fmt: skip
def test_a_bad_index_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(CheckpointError, match=message) as raised:
        ModelDirectory.open(tmp_path).require_weights()
    assert str(raised.value).startswith(str(index))
