"""From a model directory to something that serves sessions."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from antiphon.cache_folder import Kind, cache_folder, is_writable
from antiphon.codec_manifest import MANIFEST_FILE
from antiphon.history import fewest_steps
from antiphon.spec import Limits
from antiphon_cloud.admission import STEP_BUDGET_MS, Admission
from antiphon_cloud.calibration import profile_steps
from antiphon_cloud.checkpoint import is_int8
from antiphon_cloud.codec_export import ExportedCodec, Precision, codec_fingerprint, export_codec
from antiphon_cloud.codec_folder import CodecFolder
from antiphon_cloud.config import MAX_TOP_K
from antiphon_cloud.engine import Engine
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.mimi import MimiConfig
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.native.library import library, set_threads
from antiphon_cloud.rebuild import history_steps
from antiphon_cloud.runner import Runner
from antiphon_cloud.tokenizer import Tokenizer
from antiphon_cloud.worker import ServedModel

HISTORY_STEPS = 4096  # at most, where the context asks for no more: 5 minutes, 96 KiB

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """What to serve, and on what."""

    model: Path
    codec: Path | None = None
    slots: int = 4
    device: str = "cpu"
    dtype: str | None = None
    quantize: str | None = None
    kv_cache: str | None = None
    graphs: bool = True
    threads: int | None = None
    random_weights: bool = False
    idle_timeout_ms: int = 30_000
    step_budget_ms: float = STEP_BUDGET_MS
    keep_slot_ms: int = 5_000


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
    """Shares a step among `count` threads; None for one a core that this process may use.

    The compiled step has threads of its own, which wait for nobody. What is left to torch is small: there threads
    would only wait for each other, on a busy machine a hundred times as long as they work.
    """
    count = count or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    set_threads(count if compiled else None)
    torch.set_num_threads(1 if compiled else count)


def named_dtype(name: str) -> torch.dtype:
    """torch's dtype of that name."""
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def load(config: ServingConfig) -> ServedModel:
    """Loads everything that sessions need, exporting the codec first where the directory has none yet.

    Raises:
        CheckpointError: a file of the model is missing or damaged.
        ConfigError: the model, or the device, is not supported, or has too little memory.
        AntiphonError: the codec cannot be exported.
    """
    directory = ModelDirectory.open(config.model)
    int8 = is_int8(directory, config.quantize)
    dtype = torch_setup(config.device, config.dtype, config.threads, int8)
    codec_folder = config.codec or find_codec(directory)
    codec = CodecFolder.open(codec_folder)
    lm = directory.config.lm
    tokenizer = Tokenizer(directory.tokenizer, padding=(lm.existing_text_padding_id,))
    runner = Runner.load(
        directory,
        config.slots,
        dtype,
        config.device,
        quantize=config.quantize,
        cache=named_dtype(config.kv_cache) if config.kv_cache else None,
        graphs=config.graphs,
    )
    runner.spec = replace(runner.spec, random_weights=config.random_weights)
    if codec.spec.codebooks < runner.spec.user_codebooks:
        raise CheckpointError(
            f"{codec_folder}: {codec.spec.codebooks} codebooks where the model hears {runner.spec.user_codebooks}; "
            "export the codec again"
        )
    limits = Limits(
        config.slots,
        idle_timeout_ms=config.idle_timeout_ms,
        max_top_k=MAX_TOP_K,
        history_steps=max(fewest_steps(runner.spec), min(history_steps(lm), HISTORY_STEPS)),
        keep_slot_ms=config.keep_slot_ms,
    )
    admission = Admission(profile_steps(runner, config.step_budget_ms), config.step_budget_ms)
    return ServedModel(Engine(runner, admission), codec, tokenizer.text, limits)


def find_codec(directory: ModelDirectory) -> Path:
    """The folder of the directory's exported codec, which is exported once where there is none yet: into the directory,
    or, where that cannot be written, into the cache.

    Raises:
        CheckpointError: neither can be written.
        AntiphonError: as `export_codec`.
    """
    folder = directory.codec
    if (folder / MANIFEST_FILE).exists():
        return folder
    if not is_writable(folder if folder.exists() else directory.root):
        codebooks = directory.config.lm.user_codebooks
        fingerprint = codec_fingerprint(directory.mimi, MimiConfig.load(directory.mimi_config), codebooks)
        try:
            folder = cache_folder(Kind.EXPORTED_CODECS) / f"{fingerprint[:24]}"
        except OSError as error:
            raise CheckpointError(
                f"{directory.root} holds no exported codec and cannot be written, and neither can the cache "
                f"({error.filename}: {error.strerror}): run antiphon-cloud export-codec --model {directory.root} "
                "--out DIR, and serve with --codec DIR"
            ) from None
    if not (folder / MANIFEST_FILE).exists():
        logger.warning("%s has no exported codec yet: exporting it once, into %s", directory.root, folder)
        export_model_codec(directory.root, folder)
    return folder


def export_model_codec(
    model: Path,
    out: Path | None = None,
    codebooks: int | None = None,
    precision: Precision = "fp32",
    report_wav: Path | None = None,
) -> tuple[Path, ExportedCodec]:
    """Exports the codec of a model directory, and says where.

    Args:
        model: the directory.
        out: the folder to write; None for the directory's own.
        codebooks: None for as many as the model hears.
        precision: as `export_codec`.
        report_wav: as `export_codec`.

    Raises:
        AntiphonError: as `export_codec`.
    """
    directory = ModelDirectory.open(model)
    folder = out or directory.codec
    codebooks = codebooks or directory.config.lm.user_codebooks
    return folder, export_codec(
        directory.mimi,
        directory.mimi_config,
        folder,
        codebooks=codebooks,
        precision=precision,
        report_wav=report_wav,
    )
