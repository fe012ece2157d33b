"""Reads an exported codec's folder and believes none of it before it has checked."""

from __future__ import annotations

import hashlib
import mmap
import os
from io import BufferedReader
from pathlib import Path
from typing import Literal

import msgspec
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from antiphon.codec_manifest import (
    FORMAT,
    MANIFEST_FILE,
    MAX_CODEC_BYTES,
    MAX_MANIFEST_BYTES,
    CodecGraph,
    CodecManifest,
)
from antiphon.regular_file import open_regular, read_regular
from antiphon_edge.codec.byte_products import has_vnni
from antiphon_edge.codec.graph_rules import check_graph
from antiphon_edge.codec.memory import settle_memory
from antiphon_edge.codec.onnx_file import GraphError, TensorType, read_graph, size
from antiphon_edge.errors import CodecFilesError

Half = Literal["encoder", "decoder"]

_AGAIN = "pull or export the codec again"

ORT_ERRORS = (
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
        data = read_regular(path, MAX_MANIFEST_BYTES)
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
    for name, most in _MOST.items():
        if not 1 <= getattr(manifest, name) <= most:
            raise ValueError(f"`{name}` must be 1 to {most}")
    for graph in (manifest.encoder, manifest.decoder):
        if Path(graph.file).name != graph.file:
            raise ValueError(f"`file` {graph.file!r} leads out of the folder")
        for state in graph.states:
            if state.dtype not in _ONNX_TYPES or min(state.shape, default=0) < 0:
                raise ValueError(f"state {state.input} has dtype {state.dtype} and shape {list(state.shape)}")
        if (elements := sum(size(state.shape) for state in graph.states)) > MAX_STATE_ELEMENTS:
            raise ValueError(f"states of {elements} elements")


_ONNX_TYPES = {"float32": 1, "int32": 6, "int64": 7}
_MOST = {"sample_rate_hz": 192_000, "frame_samples": 1 << 16, "codebooks": 64, "cardinality": 1 << 16}
MAX_STATE_ELEMENTS = 1 << 25  # of a half; the published sizes have 2 M


def open_graph(folder: Path, manifest: CodecManifest, half: Half, threads: int) -> ort.InferenceSession:
    """A session of one half of the codec, made from the very file that was checked.

    Args:
        folder: the manifest's folder.
        manifest: its content.
        half: which one.
        threads: threads that one step may use.

    Raises:
        CodecFilesError: the file is missing or damaged, or is not the graph that the manifest describes.
    """
    graph = manifest.encoder if half == "encoder" else manifest.decoder
    path = folder / graph.file
    try:
        with open_regular(path) as file:
            _check_bytes(path, graph, file)
            _check_graph(path, manifest, half, file)
            session = _session(path, file, threads)
    except OSError as error:
        raise CodecFilesError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from error
    settle_memory()
    return session


def _check_bytes(path: Path, graph: CodecGraph, file: BufferedReader) -> None:
    found = os.fstat(file.fileno()).st_size
    if found != graph.size_bytes:
        raise CodecFilesError(f"{path}: {found} bytes where {graph.size_bytes} were exported; {_AGAIN}")
    if not 0 < found <= MAX_CODEC_BYTES:
        raise CodecFilesError(f"{path}: {found} bytes, where a codec has up to {MAX_CODEC_BYTES}; {_AGAIN}")
    if hashlib.file_digest(file, "sha256").hexdigest() != graph.sha256.lower():
        raise CodecFilesError(f"{path}: does not match the SHA-256 in {MANIFEST_FILE}; {_AGAIN}")


def _session(path: Path, file: BufferedReader, threads: int) -> ort.InferenceSession:
    """Lets onnxruntime read the open file by its descriptor: no second copy in memory, and no folder beside it that
    weights outside of the file could come from."""
    file.seek(0)
    descriptor = f"/dev/fd/{file.fileno()}"
    source = descriptor if os.path.exists(descriptor) else file.read()  # noqa: PTH110 -- no such folder on Windows
    try:
        return ort.InferenceSession(source, session_options(threads), providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        reason = str(error).partition("\n")[0].replace(descriptor, path.name)
        raise CodecFilesError(f"{path}: onnxruntime cannot load it ({reason}); {_AGAIN}") from error


def session_options(threads: int) -> ort.SessionOptions:
    """How onnxruntime runs a half of the codec."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors arrive as exceptions
    if not has_vnni():  # of no effect but on x86
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a Pi has better things to do
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _check_graph(path: Path, manifest: CodecManifest, half: Half, file: BufferedReader) -> None:
    """Refuses what our export never makes, before onnxruntime reads it."""
    graph = manifest.encoder if half == "encoder" else manifest.decoder
    pcm, codes = TensorType(1, (manifest.frame_samples,)), TensorType(6, (manifest.codebooks,))
    source, result = (pcm, codes) if half == "encoder" else (codes, pcm)
    states = [(state, TensorType(_ONNX_TYPES[state.dtype], state.shape)) for state in graph.states]
    given = {graph.input: source} | {state.input: kind for state, kind in states}
    results = {graph.output: result} | {state.output: kind for state, kind in states}
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
        refusal = _refusal(data, given, results)
    if refusal is not None:
        raise CodecFilesError(f"{path}: antiphon-cloud export-codec never makes {refusal}; {_AGAIN}")


def _refusal(data: memoryview, given: dict[str, TensorType], results: dict[str, TensorType]) -> str | None:
    """What no export of ours has; a text, for an exception would hold on to views of the mapping."""
    try:
        check_graph(read_graph(data), given, results)
    except GraphError as error:
        return str(error)
    return None
