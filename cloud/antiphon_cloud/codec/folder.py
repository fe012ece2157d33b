"""The exported codec's folder that the worker serves to edges; checked once, when the model is loaded."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Self

import msgspec

from antiphon.codec_manifest import FORMAT, MANIFEST_FILE, MAX_MANIFEST_BYTES, CodecManifest
from antiphon.regular_file import open_regular, read_regular
from antiphon.spec import CodecSpec
from antiphon_cloud.errors import CheckpointError


class _Format(msgspec.Struct):
    format: int


@dataclass(frozen=True, slots=True)
class CodecFile:
    """A file of the codec, kept open: its announced bytes stay readable even after a new export replaces it."""

    path: Path
    size_bytes: int
    sha256: bytes
    held: _Held | None = field(default=None, repr=False, compare=False)
    """The file that was at `path` when it was checked; None opens it now."""

    def __post_init__(self) -> None:
        if self.held is None:
            with open_regular(self.path) as file:
                object.__setattr__(self, "held", _Held(file))

    def open(self) -> Reading:
        """A reader from the start of the file; many can read at once."""
        assert self.held is not None, "opened with the file"
        return Reading(self.held, self.path, self.size_bytes)


class _Held:
    """A duplicate of an open file's descriptor, closed when the last reference to it is dropped."""

    def __init__(self, file: BufferedReader) -> None:
        self.number = os.dup(file.fileno())

    def __del__(self) -> None:
        os.close(self.number)


class Reading:
    """Reads a held file from start to end; a context manager."""

    def __init__(self, held: _Held, path: Path, size_bytes: int) -> None:
        self._held, self._path, self._size, self._at = held, path, size_bytes, 0

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end.

        Raises:
            OSError: the disk fails, or the file was truncated in place.
        """
        data = os.pread(self._held.number, size, self._at)
        self._at += len(data)
        if not data and self._at < self._size:
            raise OSError(errno.ESTALE, "it has been cut short", str(self._path))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class CodecFolder:
    """A codec whose files are complete and undamaged."""

    spec: CodecSpec
    files: tuple[CodecFile, ...]
    decoder: str = "decoder.onnx"
    """The name of the file that only those need who hear the model."""

    def to_send(self, *, encoder_only: bool) -> tuple[CodecFile, ...]:
        """The files that an edge asks for."""
        return tuple(file for file in self.files if not encoder_only or file.path.name != self.decoder)

    @classmethod
    def open(cls, folder: Path) -> CodecFolder:
        """Reads and checks `folder`.

        Raises:
            CheckpointError: it has no codec or one of a newer version, or a file is missing or does not match
                codec.json.
        """
        path = folder / MANIFEST_FILE
        try:
            data = read_regular(path, MAX_MANIFEST_BYTES)
            found = msgspec.json.decode(data, type=_Format).format
            if found > FORMAT:
                raise CheckpointError(
                    f"{path}: made by a newer version (format {found}, this one reads {FORMAT}): upgrade antiphon"
                )
            manifest = msgspec.json.decode(data, type=CodecManifest)
            for name in (manifest.encoder.file, manifest.decoder.file):
                if Path(name).name != name:
                    raise ValueError(f"`file` {name!r} leads out of the folder")
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
        return cls(spec, files, manifest.decoder.file)


def _read(path: Path) -> CodecFile:
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256")
        return CodecFile(path, os.fstat(file.fileno()).st_size, digest.digest(), _Held(file))
