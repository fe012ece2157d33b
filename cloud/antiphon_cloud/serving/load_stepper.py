"""How the stepper process starts: from a model directory to a measured runner."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from antiphon.history import fewest_steps
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import is_int8
from antiphon_cloud.codec.model_codec import find_codec
from antiphon_cloud.engine.runner import Runner as AnyRunner
from antiphon_cloud.runner.device import named_dtype, set_step_threads, torch_setup
from antiphon_cloud.runner.prefill import history_steps
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.serving.calibration import profile_steps
from antiphon_cloud.serving.config import ModelFacts, ServingConfig
from antiphon_cloud.serving.cpu_quota import usable_cpus
from antiphon_cloud.serving.thread_count import (
    ThreadWatch,
    WatchedRunner,
    choose_threads,
    counts_up_to,
    shown_times,
    timed_step,
)

HISTORY_STEPS = 4096  # unless the context needs more: 5 minutes, 96 KiB

logger = logging.getLogger(__name__)


def load_stepper(arguments: Mapping[str, Any]) -> tuple[AnyRunner, dict[str, Any]]:
    """The runner of a `ServingConfig`, and the facts for the event loop's process.

    Raises:
        CheckpointError: a file of the model is missing or damaged.
        ConfigError: the model, or the device, is not supported, or has too little memory.
        AntiphonError: the codec cannot be exported.
    """
    config = msgspec.convert(arguments, ServingConfig, dec_hook=lambda kind, value: kind(value))
    directory = ModelDirectory.open(config.model)
    int8 = is_int8(directory, config.quantize)
    dtype = torch_setup(config.device, config.dtype, config.threads or usable_cpus(), int8)
    codec = config.codec or find_codec(directory)
    runner = ModelRunner.load(
        directory,
        config.slots,
        dtype,
        config.device,
        quantize=config.quantize,
        kv_dtype=named_dtype(config.kv_cache) if config.kv_cache else None,
        graphs=config.graphs,
        random_weights=config.random_weights,
    )
    measured, profile = measure(runner, config, int8)
    facts = ModelFacts(
        codec=str(codec),
        tokenizer=str(directory.tokenizer),
        text_padding_token=directory.config.lm.existing_text_padding_id,
        history_steps=max(fewest_steps(runner.spec), min(history_steps(directory.config.lm), HISTORY_STEPS)),
        profile=profile,
    )
    return measured, {"spec": runner.spec, "slots": runner.slots, "model": facts}


def measure(runner: ModelRunner, config: ServingConfig, int8: bool) -> tuple[AnyRunner, dict[int, float]]:
    """The runner, on the configured or else the fastest number of threads, and its step times by batch; see
    `profile_steps`."""
    if config.device != "cpu" or config.threads is not None:
        return runner, profile_steps(runner, config.step_budget_ms)
    use = partial(set_step_threads, device=config.device, int8=int8)
    counts = counts_up_to(usable_cpus())
    chosen, times_ms = choose_threads(counts, use, timed_step(runner))
    logger.info("steps take %d of %d threads; tried: %s", chosen, counts[-1], shown_times(times_ms) or "none other")
    profile = profile_steps(runner, config.step_budget_ms)
    return WatchedRunner(runner, ThreadWatch(counts, use, chosen, profile)), profile
