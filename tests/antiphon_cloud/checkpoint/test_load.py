"""Weights files of every published layout, and damaged ones."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from antiphon.spec import GREEDY
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.files.tensor_file import TensorFile
from antiphon_cloud.checkpoint.load import is_int8, load_model
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.runner.replay import replay
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import GOLDEN, copy_model, expected

Tensors = dict[str, torch.Tensor]
FILES = {"moshi-tiny": "model.safetensors", "moshi-tiny-q8": "model.q8.safetensors"}
STEPS = 12


def edit(path: Path, change: Callable[[Tensors], Tensors]) -> None:
    tensors = change(load_file(path))
    path.unlink()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def split_projections(tensors: Tensors) -> Tensors:
    """As fine-tunes hold them: one tensor for each weight set."""
    split: Tensors = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(.*self_attn\.)(in|out)_proj[._](lora_[AB]\.weight|weight)(_scb|)", name)
        if match is None:
            split[name] = tensor
            continue
        prefix, kind, rest, suffix = match.groups()
        for i, part in enumerate(tensor.chunk(8 if name.startswith("depformer") else 1)):
            split[f"{prefix}{kind}_projs.{i}.{rest}{suffix}"] = part
    return split


def load(root: Path, dtype: torch.dtype = torch.float32, quantize: str | None = None) -> LanguageModel:
    directory = ModelDirectory.open(root)
    return load_model(directory, select(torch.device("cpu"), dtype, is_int8(directory, quantize)))


@pytest.mark.parametrize("case", FILES)
def test_split_projections_give_the_same_tokens(case: str, tmp_path: Path) -> None:
    root = copy_model(case, tmp_path / "model")
    edit(root / FILES[case], split_projections)
    assert "depformer.layers.1.self_attn.in_projs.7.weight" in load_file(root / FILES[case])
    wanted = expected(case)
    found = replay(ModelDirectory.open(root), wanted["user_codes"][:STEPS], sampling=GREEDY)
    np.testing.assert_array_equal(found["tokens"], wanted["tokens"][: STEPS - 1])


def test_fused_projections_come_apart_as_they_were_published(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    model, published = load(root, torch.bfloat16), load_file(root / "model.safetensors")
    assert all(p.dtype == torch.bfloat16 and not p.requires_grad for p in model.parameters())
    parts = [model.get_parameter(f"depformer.layers.0.self_attn.in_projs.{i}.weight").data for i in range(8)]
    assert torch.equal(torch.cat(parts), published["depformer.layers.0.self_attn.in_proj_weight"])


@pytest.mark.parametrize("quantize", [None, "int8"])
@pytest.mark.parametrize("damage", ["cut short", "written over"])
def test_a_file_that_changes_after_loading_changes_nothing(damage: str, quantize: str | None, tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    path = root / "model.safetensors"
    runners = [
        ModelRunner.load(ModelDirectory.open(root), 1, torch.bfloat16, "cpu", quantize=quantize) for _ in range(2)
    ]
    codes = expected("moshi-tiny")["user_codes"][:STEPS]
    for runner in runners:
        runner.reset(0, 0, GREEDY)
    wanted = [runners[0].step([0], frame[None]) for frame in codes]
    with path.open("r+b") as file:
        if damage == "cut short":
            file.truncate(4096)  # a mapped page beyond the end kills the process
        else:
            file.write(bytes(path.stat().st_size))
    found = [runners[1].step([0], frame[None]) for frame in codes]
    assert [r.text[0] for r in found] == [r.text[0] for r in wanted]
    np.testing.assert_array_equal([r.codes[0] for r in found], [r.codes[0] for r in wanted])
    assert all(r.finite.all() for r in found)


def test_a_file_that_is_cut_short_amid_its_reading_is_named(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    path = root / "model.safetensors"
    with TensorFile(path) as file:
        os.truncate(path, 4096)
        with pytest.raises(CheckpointError, match=r"model\.safetensors: grew shorter while it was read"):
            file.read(max(file.tensors, key=lambda name: file.tensors[name].start))


def adapter(model: LanguageModel, rank: int, split: bool) -> Tensors:
    generator = torch.Generator().manual_seed(0)
    tensors: Tensors = {}
    for name, parameter in model.named_parameters():
        prefix = name.removesuffix("weight")
        if parameter.dim() == 2 and "emb" not in name and "extra" not in name:
            tensors[f"{prefix}lora_A.weight"] = torch.randn(rank, parameter.shape[1], generator=generator)
            tensors[f"{prefix}lora_B.weight"] = torch.randn(parameter.shape[0], rank, generator=generator)
    if split:
        return tensors
    fused: dict[str, list[torch.Tensor]] = {}
    for name, tensor in tensors.items():
        fused.setdefault(re.sub(r"_projs\.\d+", "_proj", name), []).append(tensor)
    return {name: torch.cat(parts) for name, parts in fused.items()}


@pytest.mark.parametrize("split", [True, False], ids=["split", "fused"])
def test_an_adapter_is_merged(split: bool, tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    base = load(root)
    extra = {"text_emb.weight": torch.ones(257, 64)}  # fine-tuned embeddings lie beside the adapter
    save_file(adapter(base, 2, split) | extra, root / "a.safetensors")
    config = json.loads((root / "config.json").read_text())
    (root / "config.json").write_text(
        json.dumps(config | {"lora": True, "lora_rank": 2, "lora_scaling": 0.5, "lora_name": "a.safetensors"})
    )
    merged = load(root)
    parts = adapter(base, 2, split=True)
    for name, weight in merged.named_parameters():
        prefix = name.removesuffix("weight")
        if f"{prefix}lora_A.weight" in parts:
            product = parts[f"{prefix}lora_B.weight"] @ parts[f"{prefix}lora_A.weight"]
            wanted = base.get_parameter(name) + 0.5 * product
        else:
            wanted = extra.get(name, base.get_parameter(name))
        torch.testing.assert_close(weight.data, wanted.data)


def test_hibiki_hears_its_early_end_as_padding(tmp_path: Path) -> None:
    model = load(copy_model("moshi-tiny", tmp_path / "model", model_type="hibiki"))
    assert torch.equal(model.text_emb.weight[2], model.text_emb.weight[3])


def test_int8_scales_are_read_in_float32(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny-q8", tmp_path / "model")
    file = load_file(root / "model.q8.safetensors")
    wanted = file["text_linear.weight"].float() * (file["text_linear.weight_scb"][:, None] / 127)
    for dtype in (torch.float32, torch.bfloat16):  # of activations
        torch.testing.assert_close(load(root, dtype).text_linear(torch.eye(64)).T, wanted)


def test_a_directory_of_floats_is_quantized_matrix_by_matrix(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    model = load(root, torch.bfloat16, quantize="int8")
    floats = load(root)
    matrices = {name for name, module in floats.named_modules() if isinstance(module, Linear)}
    assert not [name for name, _ in model.named_parameters() if name.removesuffix(".weight") in matrices]
    assert model.text_emb.weight.dtype == torch.bfloat16  # tables stay as they are
    for name in matrices:
        weight = floats.get_parameter(f"{name}.weight").data
        found = model.get_submodule(name)(torch.eye(weight.shape[1])).T
        assert ((found - weight).abs() <= weight.abs().amax(1, keepdim=True) / 127 * 0.501).all(), name


def test_quantizing_gives_what_was_published_quantized() -> None:
    published, quantized = load(GOLDEN / "moshi-tiny-q8"), load(GOLDEN / "moshi-tiny-q8", quantize="int8")
    x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(published.text_linear(x), quantized.text_linear(x))


def test_a_quantized_directory_is_not_turned_back() -> None:
    with pytest.raises(ConfigError, match="int8 already; leave --quantize none out"):
        load(GOLDEN / "moshi-tiny-q8", quantize="none")


def test_an_adapter_is_merged_before_its_matrix_is_quantized(tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model", lora=True, lora_rank=2, lora_scaling=0.5)
    save_file(adapter(load(GOLDEN / "moshi-tiny"), 2, split=True), root / "lora.safetensors")
    merged, quantized = load(root).text_linear.weight, load(root, quantize="int8").text_linear
    assert ((quantized(torch.eye(64)).T - merged).abs() <= merged.abs().amax(1, keepdim=True) / 127 * 0.501).all()


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def replaced(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: change(tensors[name])}


IN_PROJ = "depformer.layers.0.self_attn.in_proj_weight"
EMB = "emb.3.weight"
TEXT = "text_linear.weight"


@pytest.mark.parametrize(
    ("case", "change", "message"),
    [
        ("moshi-tiny", without("out_norm.alpha"), r"out_norm\.alpha: missing; expected \[1, 1, 64\]"),
        ("moshi-tiny", without(IN_PROJ), r"in_projs\.0\.weight: missing"),
        ("moshi-tiny", lambda t: t | {"b": torch.ones(1), "a": torch.ones(1)}, r": a: unexpected \(and 1 more\)"),
        ("moshi-tiny", replaced(EMB, lambda x: x[:-1]), r"weight: expected shape \[2049, 64\], found \[2048, 64\]"),
        ("moshi-tiny", replaced(IN_PROJ, lambda x: x[:96]), r"weight: expected shape \[768, 32\], found \[96, 32\]"),
        ("moshi-tiny", replaced(EMB, lambda x: x.int()), r"emb\.3\.weight: expected BF16 or F16 or F32, found I32"),
        ("moshi-tiny-q8", without(f"{TEXT}_scb"), r"text_linear\.weight_scb: missing"),
        ("moshi-tiny-q8", replaced(f"{TEXT}_scb", lambda x: x.bfloat16()), r"weight_scb: expected F32, found BF16"),
        ("moshi-tiny-q8", replaced(TEXT, lambda x: x.float()), r"text_linear\.weight: expected I8, found F32"),
    ],
)  # fmt: skip
def test_a_wrong_tensor_is_named(case: str, change: Callable[[Tensors], Tensors], message: str, tmp_path: Path) -> None:
    root = copy_model(case, tmp_path / "model")
    edit(root / FILES[case], change)
    with pytest.raises(CheckpointError, match=message) as raised:
        load(root)
    assert str(root / FILES[case]) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:50], lambda b: b"", lambda b: b"\xff" * 100])
def test_a_damaged_file_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model")
    data = (root / "model.safetensors").read_bytes()
    (root / "model.safetensors").unlink()
    (root / "model.safetensors").write_bytes(damage(data))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a whole safetensors file"):
        load(root)


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"transformer\.layers\.3\.\S+: missing"):
        load(copy_model("moshi-tiny", tmp_path / "deeper", num_layers=4))
    with pytest.raises(CheckpointError, match=r"transformer\.layers\.2\.\S+: unexpected"):
        load(copy_model("moshi-tiny", tmp_path / "shallower", num_layers=2))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"text_linear.lora_A.weight": (2, 64)}, r"text_linear\.lora_B\.weight: missing"),
        ({"text_linear.lora_A.weight": (3, 64), "text_linear.lora_B.weight": (256, 2)}, r"expected shape \[2, 64\]"),
        ({"out_norm.lora_A.weight": (2, 64)}, r"out_norm\.lora_A\.weight: unexpected"),
    ],
)  # fmt: skip
def test_a_wrong_adapter_is_named(tensors: dict[str, tuple[int, ...]], message: str, tmp_path: Path) -> None:
    root = copy_model("moshi-tiny", tmp_path / "model", lora=True, lora_rank=2)
    save_file({name: torch.ones(shape) for name, shape in tensors.items()}, root / "lora.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load(root)


@pytest.mark.parametrize("changes", [{"lora": True, "quantize": True}, {"lora_name": "a.safetensors"}])
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lora"):
        load(copy_model("moshi-tiny", tmp_path / "model", **changes))
