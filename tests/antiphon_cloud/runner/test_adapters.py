"""Adapters from their files to a runner's steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon.spec import GREEDY
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles, AdapterPaths
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.config import ModelConfig
from antiphon_cloud.model.lm import adapted_shapes
from antiphon_cloud.runner.adapters import USUAL_RANK, AdapterLoading, Adapters, largest_rank
from antiphon_cloud.runner.footprint import footprint
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.adapters import adapter_tensors, save_adapter
from tests.support.language_models import GOLDEN, MICRO, copy_model, random_model

CONFIG = ModelConfig(lm=MICRO)
ROOM = AdapterRoom(2, 3)
CPU = torch.device("cpu")


def done(loading: AdapterLoading) -> AdapterLoading:
    while loading.left:
        loading.advance()
    return loading


def text_logits(runner: ModelRunner, steps: int = 12) -> np.ndarray:
    rng, found = np.random.default_rng(0), []
    for _ in range(steps):
        runner.step([0], rng.integers(0, runner.spec.cardinality, (1, runner.spec.user_codebooks), np.int32))
        found.append(np.concatenate((runner.text_logits.ravel(), runner.audio_logits.ravel())))
    return np.stack(found)


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_a_published_model_with_an_adapter_has_the_logits_of_the_one_that_it_was_merged_into(
    quantize: str, tmp_path: Path
) -> None:
    """With int8, only about: the merged weights are rounded, and here those that the adapter is added to."""
    config = ModelDirectory.open(GOLDEN / "moshi-tiny").config.lm
    tensors = adapter_tensors(config, 3)
    root = copy_model("moshi-tiny", tmp_path / "merged", lora=True, lora_rank=3, lora_scaling=0.5)
    save_adapter(root / "lora.safetensors", tensors)
    path = save_adapter(tmp_path / "a.safetensors", tensors, lora_rank=3, lora_scaling=0.5)
    merged = ModelRunner.load(ModelDirectory.open(root), 1, torch.float32, "cpu", quantize=quantize)
    beside = ModelRunner.load(
        ModelDirectory.open(GOLDEN / "moshi-tiny"), 1, torch.float32, "cpu", quantize=quantize, room=ROOM
    )
    done(beside.load_adapter(1, AdapterPaths.of(path)))
    for runner in (merged, beside):
        runner.reset(0, 0, GREEDY)
    beside.adapt(0, 1)
    wanted, found = text_logits(merged), text_logits(beside)
    plain = ModelRunner.load(ModelDirectory.open(GOLDEN / "moshi-tiny"), 1, torch.float32, "cpu", quantize=quantize)
    plain.reset(0, 0, GREEDY)
    first = np.s_[:1]  # later steps follow other tokens where one differs
    if quantize == "none":
        assert np.abs(found - wanted).max() < 1e-3
    else:
        apart = np.abs(text_logits(plain, 1) - wanted[first]).max()
        assert np.abs(found[first] - wanted[first]).max() < 0.1 * apart


def test_a_matrix_is_read_a_turn(tmp_path: Path) -> None:
    model = random_model(MICRO)
    model.make_room(ROOM, torch.float32)
    assert model.adapters is not None
    tensors = adapter_tensors(MICRO, 3, only="depformer.")
    path = save_adapter(tmp_path / "a.safetensors", tensors)
    loading, turns = Adapters(model.adapters, CONFIG).load(0, AdapterPaths.of(path)), 0
    while loading.left:
        loading.advance()
        turns += 1
    assert len(tensors) // 2 <= turns <= len(tensors) // 2 + 1
    factors = model.adapters.by_name["depformer.layers.0.gating.1.linear_in"]
    assert torch.equal(factors.down[0], tensors["depformer.layers.0.gating.1.linear_in.lora_A.weight"])
    assert torch.equal(factors.up[0], 2 * tensors["depformer.layers.0.gating.1.linear_in.lora_B.weight"].t())
    assert int(model.adapters.by_name["text_linear"].ranks[0]) == 0
    assert len(loading.sha256) == 32


def test_one_of_a_higher_rank_than_there_is_room_for_is_refused_for_everybody_who_waits_for_it(tmp_path: Path) -> None:
    model = random_model(MICRO)
    model.make_room(ROOM, torch.float32)
    assert model.adapters is not None
    path = save_adapter(tmp_path / "a.safetensors", adapter_tensors(MICRO, 4))
    loading = Adapters(model.adapters, CONFIG).load(0, AdapterPaths.of(path))
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"of rank 4, where this worker has room for 3.*--adapter-rank 4"):
            loading.advance()
    assert loading.left


def test_a_file_that_is_cut_short_while_it_is_read_is_no_adapter(tmp_path: Path) -> None:
    model = random_model(MICRO)
    model.make_room(ROOM, torch.float32)
    assert model.adapters is not None
    path = save_adapter(tmp_path / "a.safetensors", adapter_tensors(MICRO, 3))
    loading = Adapters(model.adapters, CONFIG).load(0, AdapterPaths.of(path))
    loading.advance()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(CheckpointError, match="grew shorter while it was read"):
        done(loading)
    with pytest.raises(CheckpointError, match="grew shorter while it was read"):
        loading.advance()


def test_there_is_room_for_the_largest_that_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = AdapterFiles([tmp_path])
    assert largest_rank(files, CONFIG) == USUAL_RANK
    for name, rank in (("a", 2), ("b", 5)):
        save_adapter(tmp_path / f"{name}.safetensors", adapter_tensors(MICRO, rank))
    save_adapter(tmp_path / "c.safetensors", adapter_tensors(replace(MICRO, dim=32), 9))
    assert largest_rank(files, CONFIG) == 5
    assert "adapter c cannot be used" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_the_room_takes_is_known_before(dtype: torch.dtype) -> None:
    backend = select(CPU, dtype, int8=False)
    model = random_model(MICRO)
    model.make_room(ROOM, backend.adapter_dtype)
    assert model.adapters is not None
    taken = sum(each.down.nbytes + each.up.nbytes for each in model.adapters.by_name.values())
    needed, without = footprint(MICRO, backend, None, room=ROOM), footprint(MICRO, backend, None)
    assert needed.adapters == taken
    assert needed.total(0) - without.total(0) == pytest.approx(1.05 * taken, rel=1e-3)
    assert set(model.adapters.by_name) == set(adapted_shapes(MICRO))
