"""An exported codec's folder as the worker hands it out: checked once, when the model is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from antiphon.codec_manifest import FORMAT, MANIFEST_FILE, CodecManifest
from antiphon.spec import CodecSpec
from antiphon_cloud.errors import CheckpointError


class _Format(msgspec.Struct):
    format: int


@dataclass(frozen=True, slots=True)
class CodecFile:
    """A file of the codec."""

    path: Path
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class CodecFolder:
    """A codec whose files are all there and whole."""

    spec: CodecSpec
    files: tuple[CodecFile, ...]

    @classmethod
    def open(cls, folder: Path) -> CodecFolder:
        """Reads and checks `folder`.

        Raises:
            CheckpointError: it holds no codec, or one made by a newer version, or a file is missing or is not the one
                that codec.json describes.
        """
        path = folder / MANIFEST_FILE
        try:
            data = path.read_bytes()
            found = msgspec.json.decode(data, type=_Format).format
            if found > FORMAT:
                raise CheckpointError(
                    f"{path}: made by a newer version (format {found}, this one reads {FORMAT}): upgrade antiphon"
                )
            manifest = msgspec.json.decode(data, type=CodecManifest)
            files = tuple(
                _read(folder / name) for name in (MANIFEST_FILE, manifest.encoder.file, manifest.decoder.file)
            )
            spec = manifest.spec
        except OSError as error:
            raise CheckpointError(
                f"{error.filename}: cannot be read ({error.strerror}); run antiphon-cloud export-codec, or name an "
                "exported codec with --codec"
            ) from error
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: not a codec manifest ({error}); export the codec again") from error
        for graph, file in zip((manifest.encoder, manifest.decoder), files[1:], strict=True):
            if file.sha256.hex() != graph.sha256.lower():
                raise CheckpointError(
                    f"{file.path}: not the file that {MANIFEST_FILE} describes; export the codec again"
                )
        return cls(spec, files)


def _read(path: Path) -> CodecFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return CodecFile(path, path.stat().st_size, digest.digest())
