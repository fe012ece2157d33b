"""Reads an exported codec's folder and believes none of it before it has checked."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from io import BufferedReader
from pathlib import Path

import msgspec
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from antiphon.codec_manifest import FORMAT, MANIFEST_FILE, CodecGraph, CodecManifest
from antiphon_edge.errors import CodecFilesError

_AGAIN = "pull or export the codec again"

_BAD_MODEL = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class _Format(msgspec.Struct):
    format: int


def read_manifest(folder: Path) -> CodecManifest:
    """The content of `folder/codec.json`.

    Raises:
        CodecFilesError: it is missing, malformed, or made by a newer version.
    """
    path = folder / MANIFEST_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CodecFilesError(f"{path}: cannot be read ({error.strerror}); export the codec into {folder}") from error
    try:
        found = msgspec.json.decode(data, type=_Format).format
        if found > FORMAT:
            raise CodecFilesError(
                f"{path}: made by a newer version (format {found}, this one reads {FORMAT}): upgrade antiphon"
            )
        manifest = msgspec.json.decode(data, type=CodecManifest)
        _check_values(manifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CodecFilesError(f"{path}: not a codec manifest ({error}); {_AGAIN}") from error
    return manifest


def _check_values(manifest: CodecManifest) -> None:
    """What the types do not say.

    Raises:
        ValueError: names the value.
    """
    if manifest.format < 1:
        raise ValueError(f"format {manifest.format}")
    if len(manifest.spec.fingerprint) != 32:
        raise ValueError("`fingerprint` is no SHA-256")
    for name in ("sample_rate_hz", "frame_samples", "codebooks", "cardinality"):
        if getattr(manifest, name) < 1:
            raise ValueError(f"`{name}` must be positive")
    for graph in (manifest.encoder, manifest.decoder):
        if Path(graph.file).name != graph.file:
            raise ValueError(f"`file` {graph.file!r} leads out of the folder")
        for state in graph.states:
            if state.dtype not in _ORT_TYPES or min(state.shape, default=0) < 0:
                raise ValueError(f"state {state.input} has dtype {state.dtype} and shape {list(state.shape)}")


_ORT_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "int32": "tensor(int32)"}


def open_graph(folder: Path, graph: CodecGraph, threads: int) -> ort.InferenceSession:
    """A session of one half of the codec, made from the very file that was checked.

    Args:
        folder: the manifest's folder.
        graph: the manifest's entry.
        threads: threads that one step may use.

    Raises:
        CodecFilesError: the file is missing or damaged, or is not the graph that the manifest describes.
    """
    path = folder / graph.file
    try:
        with path.open("rb") as file:
            _check_bytes(path, graph, file)
            session = _session(path, file, threads)
    except OSError as error:
        raise CodecFilesError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from error
    _check_graph(path, graph, session)
    _give_back_memory()
    return session


def _check_bytes(path: Path, graph: CodecGraph, file: BufferedReader) -> None:
    size = os.fstat(file.fileno()).st_size
    if size != graph.size_bytes:
        raise CodecFilesError(f"{path}: {size} bytes where {graph.size_bytes} were exported; {_AGAIN}")
    if hashlib.file_digest(file, "sha256").hexdigest() != graph.sha256.lower():
        raise CodecFilesError(f"{path}: does not match the SHA-256 in {MANIFEST_FILE}; {_AGAIN}")


def _session(path: Path, file: BufferedReader, threads: int) -> ort.InferenceSession:
    """Lets onnxruntime read the open file by its descriptor: no second copy in memory, and no folder beside it that
    weights outside of the file could come from."""
    file.seek(0)
    descriptor = f"/dev/fd/{file.fileno()}"
    source = descriptor if os.path.exists(descriptor) else file.read()  # noqa: PTH110 -- no such folder on Windows
    try:
        return ort.InferenceSession(source, _options(threads), providers=["CPUExecutionProvider"])
    except _BAD_MODEL as error:
        reason = str(error).partition("\n")[0].replace(descriptor, path.name)
        raise CodecFilesError(f"{path}: onnxruntime cannot load it ({reason}); {_AGAIN}") from error


def _give_back_memory() -> None:
    """What onnxruntime freed as it loaded goes back to the system: glibc would keep it, 20 to 60 MiB at full size."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # another libc has none
        if trim is not None:
            trim(0)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors, which also arrive as exceptions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a Pi has better things to do
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _check_graph(path: Path, graph: CodecGraph, session: ort.InferenceSession) -> None:
    inputs = {value.name: (value.type, tuple(value.shape)) for value in session.get_inputs()}
    outputs = {value.name: (value.type, tuple(value.shape)) for value in session.get_outputs()}
    for state in graph.states:
        described = (_ORT_TYPES[state.dtype], state.shape)
        if inputs.get(state.input) != described or outputs.get(state.output) != described:
            raise CodecFilesError(f"{path}: state {state.input} is not as {MANIFEST_FILE} describes it; {_AGAIN}")
    expected = {graph.input, *(state.input for state in graph.states)}
    if inputs.keys() != expected or graph.output not in outputs:
        raise CodecFilesError(f"{path}: its inputs and outputs are not those of {MANIFEST_FILE}; {_AGAIN}")
