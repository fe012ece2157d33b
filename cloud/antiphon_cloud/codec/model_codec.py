"""Finds the exported codec of a model directory, or exports it."""

from __future__ import annotations

import logging
from pathlib import Path

from antiphon.cache_folder import Kind, cache_folder, is_writable
from antiphon.codec_manifest import MANIFEST_FILE
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.codec.export import ExportedCodec, Precision, codec_fingerprint, export_codec
from antiphon_cloud.codec.mimi import MimiConfig
from antiphon_cloud.errors import CheckpointError

logger = logging.getLogger(__name__)


def find_codec(directory: ModelDirectory) -> Path:
    """The folder of the directory's exported codec.

    If there is none yet, exports it into the directory, or into the cache if the directory cannot be written. A model
    that generates fewer codebooks than it could has a codec of its own, in the cache.

    Raises:
        CheckpointError: neither the directory nor the cache can be written.
        AntiphonError: see `export_codec`.
    """
    folder, fewer = directory.codec, directory.config.lm.silent_codebooks > 0
    if (folder / MANIFEST_FILE).exists() and not fewer:
        return folder
    if fewer or not is_writable(folder if folder.exists() else directory.root):
        codebooks = directory.config.lm.codec_codebooks
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
        export_model_codec(directory.root, folder, directory.config.lm.codec_codebooks)
    return folder


def export_model_codec(
    model: Path,
    out: Path | None = None,
    codebooks: int | None = None,
    precision: Precision = "fp32",
    report_wav: Path | None = None,
) -> tuple[Path, ExportedCodec]:
    """Exports the codec of a model directory; returns the folder and the result.

    Args:
        model: the directory.
        out: the folder to write; None for the directory's `codec` folder.
        codebooks: None for as many as the model's sides have.
        precision: see `export_codec`.
        report_wav: see `export_codec`.

    Raises:
        AntiphonError: see `export_codec`.
    """
    directory = ModelDirectory.open(model)
    folder = out or directory.codec
    codebooks = codebooks or directory.config.lm.codec_codebooks
    return folder, export_codec(
        directory.mimi,
        directory.mimi_config,
        folder,
        codebooks=codebooks,
        precision=precision,
        report_wav=report_wav,
    )
