"""What the stepper's process does first: from a model directory to a runner that was measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import torch

from antiphon.codec_manifest import MANIFEST_FILE
from antiphon.history import fewest_steps
from antiphon_cloud.calibration import profile_steps
from antiphon_cloud.checkpoint import is_int8
from antiphon_cloud.codec_export import export_model_codec
from antiphon_cloud.cpu_quota import usable_cpus
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.native.library import library, set_threads
from antiphon_cloud.rebuild import history_steps
from antiphon_cloud.runner import Runner
from antiphon_cloud.serving_config import ModelFacts, ServingConfig

HISTORY_STEPS = 4096  # at most, where the context asks for no more: 5 minutes, 96 KiB

logger = logging.getLogger(__name__)


def load_stepper(arguments: Mapping[str, Any]) -> tuple[Runner, dict[str, Any]]:
    """The runner of a `ServingConfig`, and what the event loop's process is told of it.

    Raises:
        CheckpointError: a file of the model is missing or damaged.
        ConfigError: the model, or the device, is not supported, or has too little memory.
        AntiphonError: the codec cannot be exported.
    """
    config = msgspec.convert(arguments, ServingConfig, dec_hook=lambda kind, value: kind(value))
    directory = ModelDirectory.open(config.model)
    dtype = torch_setup(config.device, config.dtype, config.threads, is_int8(directory, config.quantize))
    codec = config.codec or directory.codec
    if config.codec is None and not (codec / MANIFEST_FILE).exists():
        logger.warning("%s has no exported codec yet: exporting it once", config.model)
        export_model_codec(config.model)
    runner = Runner.load(
        directory,
        config.slots,
        dtype,
        config.device,
        quantize=config.quantize,
        cache=named_dtype(config.kv_cache) if config.kv_cache else None,
        graphs=config.graphs,
    )
    facts = ModelFacts(
        codec=str(codec),
        tokenizer=str(directory.tokenizer),
        text_padding_token=directory.config.lm.existing_text_padding_id,
        history_steps=max(fewest_steps(runner.spec), min(history_steps(directory.config.lm), HISTORY_STEPS)),
        profile=profile_steps(runner, config.step_budget_ms),
    )
    spec = replace(runner.spec, random_weights=config.random_weights)
    return runner, {"spec": spec, "slots": runner.slots, "model": facts}


def torch_setup(device: str, dtype: str | None, threads: int | None, int8: bool = False) -> torch.dtype:
    """Chooses the dtype and the threads of this process' steps.

    Args:
        device: "cpu" or "cuda".
        dtype: its name; None for float32 on a CPU with float weights, and bfloat16 elsewhere.
        threads: None for one a core that this process may use.
        int8: whether the weights are held in int8.

    Raises:
        ConfigError: there is no such device here.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no NVIDIA GPU here; install a driver, or use --device cpu")
    set_step_threads(threads, compiled=int8 and device == "cpu" and library() is not None)
    return named_dtype(dtype or ("float32" if device == "cpu" and not int8 else "bfloat16"))


def set_step_threads(count: int | None, compiled: bool) -> None:
    """Shares a step among `count` threads; None for one a core that this process may use all the time.

    The compiled step has threads of its own, which wait for nobody. What is left to torch is small: there threads
    would only wait for each other, on a busy machine a hundred times as long as they work.
    """
    count = count or usable_cpus()
    set_threads(count if compiled else None)
    torch.set_num_threads(1 if compiled else count)


def named_dtype(name: str) -> torch.dtype:
    """torch's dtype of that name."""
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found
