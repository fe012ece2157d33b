"""What the stepper's process does first: from a model directory to a runner that was measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import torch

from antiphon.history import fewest_steps
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles
from antiphon_cloud.checkpoint.conditions import list_conditions
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import is_int8
from antiphon_cloud.checkpoint.speaker_voices import voice_digests
from antiphon_cloud.codec.model_codec import find_codec
from antiphon_cloud.codec.silence import silence_codes
from antiphon_cloud.engine.runner import Runner as AnyRunner
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.runner import card
from antiphon_cloud.runner.adapters import largest_rank
from antiphon_cloud.runner.device import named_dtype, step_dtype
from antiphon_cloud.runner.prefill import history_steps
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.serving.calibration import profile_steps
from antiphon_cloud.serving.config import ModelFacts, ServingConfig
from antiphon_cloud.serving.cpu_quota import usable_cpus
from antiphon_cloud.serving.prompts import facts_of
from antiphon_cloud.serving.thread_count import (
    PAUSE_S,
    ThreadWatch,
    WatchedRunner,
    choose_threads,
    counts_up_to,
    shown_times,
    timed_step,
)
from antiphon_cloud.timing import FRAME_S

SILENT_FRAMES = 13  # 1 s: the codes of what comes after it are the same
HISTORY_STEPS = 4096  # at most, where the context asks for no more: 5 minutes, 96 KiB

logger = logging.getLogger(__name__)


def load_stepper(arguments: Mapping[str, Any]) -> tuple[AnyRunner, dict[str, Any]]:
    """The runner of a `ServingConfig`, and what the event loop's process needs to know of it.

    Raises:
        CheckpointError: a file of the model is missing or damaged.
        ConfigError: the model, or the device, is not supported, or has too little memory.
        DeviceLostError: the device has failed while it was measured.
        AntiphonError: the codec cannot be exported.
    """
    config = msgspec.convert(arguments, ServingConfig, dec_hook=lambda kind, value: kind(value))
    directory = ModelDirectory.open(config.model, config.codebooks)
    dtype = step_dtype(config.device, config.dtype, is_int8(directory, config.quantize))
    files = AdapterFiles.given(config.model, config.adapters_dir, config.adapters)
    room = None
    if files is not None:
        room = AdapterRoom(config.max_adapters, config.adapter_rank or largest_rank(files, directory.config))
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
        threads=config.threads or usable_cpus(),
        promise=None if config.kv_promise_s is None else round(config.kv_promise_s / FRAME_S),
        prompt_cache_bytes=config.prompt_cache_mb * 1_000_000,
        room=room,
    )
    with card.room(torch.device(config.device)):
        measured, profile = measure(runner, config)
        if runner.padded:
            runner.warm_up_prefill()
    for slot in range(runner.slots):
        runner.allow(slot, 0)  # what was measured is no session, and has no memory from now on
    facts = ModelFacts(
        codec=str(codec),
        tokenizer=str(directory.tokenizer),
        text_padding_token=directory.config.lm.existing_text_padding_id,
        history_steps=max(fewest_steps(runner.spec), min(history_steps(directory.config.lm), HISTORY_STEPS)),
        words_ahead=directory.config.tts_config.second_stream_ahead,
        code_delays=directory.config.lm.delays[1 : 1 + directory.config.lm.dep_q],
        profile=profile,
        pool=runner.pool,
        voices=[facts_of(voice) for voice in runner.voices.values()],
        speakers=voice_digests(directory),
        conditions=list_conditions(directory.config.lm),
        silence=silence_codes(directory, SILENT_FRAMES).tolist() if runner.spec.model_type == "stt" else [],
        adapter_places=0 if room is None else room.places,
    )
    return measured, {"spec": runner.spec, "slots": runner.slots, "model": facts}


def measure(runner: ModelRunner, config: ServingConfig) -> tuple[AnyRunner, dict[int, float]]:
    """The runner, on the number of threads that makes it fastest unless one is asked for, and its steps' times by
    their batch; see `profile_steps`."""
    if config.device != "cpu" or config.threads is not None:
        return runner, profile_steps(runner, config.step_budget_ms, padded=runner.padded)
    counts = counts_up_to(usable_cpus())
    pause = partial(time.sleep, PAUSE_S)
    chosen, times_ms = choose_threads(counts, runner.use_threads, timed_step(runner), pause)
    logger.info("steps take %d of %d threads; tried: %s", chosen, counts[-1], shown_times(times_ms) or "none other")
    profile = profile_steps(runner, config.step_budget_ms)
    return WatchedRunner(runner, ThreadWatch(counts, runner.use_threads, chosen, profile)), profile
