"""Small language models: the golden directories, copies of them to damage, and random ones to step fast."""

from __future__ import annotations

import ctypes
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.backends.cpu.library import library
from antiphon_cloud.backends.cpu.linear import CompiledLinear
from antiphon_cloud.backends.cpu.ops import CpuOps
from antiphon_cloud.backends.int8 import Int8Linear, quantize_rows
from antiphon_cloud.model.conditioners import Conditioner, Fuser, LookupTable, Vectors
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.golden import GOLDEN as GOLDEN

LIKE_HIBIKI: dict[str, Any] = {
    "conditioners": {"description": Conditioner("lut", LookupTable(3, 4, ("bad", "very_good"), "noop"))},
    "fuser": Fuser(sum=("description",)),
}
"""Changes to a model that is told a value."""

LIKE_TTS: dict[str, Any] = {
    "conditioners": {
        "speaker_wavs": Conditioner("tensor", tensor=Vectors(6)),
        "cfg": Conditioner("lut", LookupTable(3, 4, ("1.0", "2.0"), "noop")),
        "control": Conditioner("lut", LookupTable(1, 4, ("ok",), "noop")),
    },
    "fuser": Fuser(sum=("control", "cfg"), cross=("speaker_wavs",), cross_attention_pos_emb=True),
    "cross_attention": True,
    "demux_second_stream": True,
    "dep_q": 5,
    "depformer_low_rank_embeddings": 4,
    "depformer_weights_per_step_schedule": (0, 1, 2, 2, 2),
}
"""Changes to a model of five codebooks that speaks a script."""

Array = npt.NDArray[Any]

MICRO = LMConfig(
    dim=16, num_heads=2, num_layers=2, context=6, n_q=5, dep_q=3, card=24, text_card=20, delays=(0, 0, 1, 2, 0, 1),
    depformer_dim=8, depformer_num_heads=2, depformer_num_layers=1, depformer_dim_feedforward=24,
)  # fmt: skip


def expected(case: str) -> dict[str, Array]:
    """The reference's outputs."""
    tensors: dict[str, Array] = load_file(GOLDEN / case / "expected.safetensors")
    return tensors


def copy_model(case: str, to: Path, **changes: Any) -> Path:
    """A copy of a golden model's directory, with changes to its config.json; None removes a key."""
    shutil.copytree(GOLDEN / case, to, copy_function=shutil.copyfile)
    to.chmod(0o755)
    config = json.loads((to / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(config))
    return to


def random_model(config: LMConfig, seed: int = 0) -> LanguageModel:
    """Weights of unit gain: every part of the network matters to the tokens."""
    generator = torch.Generator().manual_seed(seed)
    model = LanguageModel(config)
    for name, parameter in model.named_parameters():
        if name.endswith("alpha"):
            torch.nn.init.uniform_(parameter, 0.7, 1.3, generator)
        else:
            torch.nn.init.normal_(parameter, 0.0, 1.2 * parameter.shape[-1] ** -0.5, generator)
    return model.requires_grad_(False).eval()


def in_int8(model: LanguageModel, matrix: Callable[[Tensor, Tensor], nn.Module] = Int8Linear) -> LanguageModel:
    """The model, with every matrix in int8: the definition's, unless another product is given."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear):
            model.set_submodule(name, matrix(*quantize_rows(module.weight)))
    return model


def compiled_ops(config: LMConfig, digits: int, compiled: ctypes.CDLL | None = None) -> CpuOps:
    """A random model in int8 that the compiled library steps, or another one."""
    compiled = compiled or library()
    assert compiled is not None
    model = in_int8(random_model(config), lambda weight, scale: CompiledLinear(weight, scale, digits, compiled))
    return CpuOps(model, compiled)


def micro_runner(
    slots: int, config: LMConfig = MICRO, kv_dtype: torch.dtype | None = None, ops: Ops | None = None, **options: Any
) -> ModelRunner:
    spec = ModelSpec(
        "micro", "moshi", config.user_codebooks, config.dep_q, config.card, config.text_card, config.max_delay,
        config.context, Sampling(0.7, 5, 0.8, 12), "float32", True,
    )  # fmt: skip
    return ModelRunner(ops or Ops(random_model(config)), slots, spec, kv_dtype, **options)


def relative_error(found: Array, wanted: Array) -> float:
    """Largest difference over the largest value."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
