"""Exports a Mimi checkpoint for the edge: two ONNX graphs of one frame per call, with states as inputs and outputs."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from antiphon.codec_manifest import FORMAT, MANIFEST_FILE, OPSETS, CodecGraph, CodecManifest, GraphState
from antiphon.errors import AntiphonError
from antiphon_cloud.codec.int8.calibration import FRAMES, make_voice, sample_inputs
from antiphon_cloud.codec.int8.quantize import quantize
from antiphon_cloud.codec.mimi import Checkpoint, Decoder, Encoder, MimiConfig
from antiphon_cloud.codec.onnx_rewrites import keep_tables_once, split_elu
from antiphon_cloud.codec.report import REPORT_FILE, CodecReport, compare, load_wav
from antiphon_cloud.codec.run_graph import run_graph

Precision = Literal["fp32", "int8"]

_FLOAT32 = "float32"  # folder of the float32 graphs while another precision is made from them
_NEXT = ".next"  # the state `x` after the frame is the output `x.next`


@dataclass(frozen=True, slots=True)
class ExportedCodec:
    """The result of an export."""

    manifest: CodecManifest
    report: CodecReport | None
    """int8 compared with float32; None without a wav file or at float32."""


def export_codec(
    checkpoint: Path,
    config: Path | None,
    out: Path,
    *,
    codebooks: int = 8,
    precision: Precision = "fp32",
    report_wav: Path | None = None,
) -> ExportedCodec:
    """Writes `encoder.onnx`, `decoder.onnx` and `codec.json` into the folder `out`, each atomically.

    Args:
        checkpoint: Mimi's safetensors file.
        config: its `mimi_config.json`; None for the published sizes.
        out: created if missing; files of an earlier export are replaced.
        codebooks: how many of the checkpoint's codebooks the codec uses.
        precision: int8 stores the large weights in a quarter of the space. It has the same fingerprint; its rounding
            can change codes.
        report_wav: a wav file of speech to compare int8 with float32 on, for `codec-report.json`; unused at fp32.

    Raises:
        CheckpointError: the checkpoint is unreadable or does not fit the config.
        ConfigError: the config is unreadable or not supported, or has fewer codebooks.
        AntiphonError: `out` cannot be written, or `report_wav` cannot be read.
    """
    sizes = MimiConfig.load(config)
    pcm = None if report_wav is None else load_wav(report_wav, sizes.sample_rate, sizes.frame_samples)
    report = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        with Checkpoint(checkpoint) as weights, _partial_files(out) as partial:
            # One half after the other: at full size each is 0.2 GB, and its export needs a few times that memory.
            encoder_frame = _EncodeFrame(Encoder(weights, sizes, codebooks))
            voice = make_voice(FRAMES * sizes.frame_samples, sizes.sample_rate).reshape(FRAMES, -1)
            encoder = _export(encoder_frame, precision, partial, voice)
            del encoder_frame
            codes = np.zeros((1, codebooks), np.int32)
            if precision == "int8":
                codes = run_graph(partial / _FLOAT32, encoder, voice)
            decoder = _export(_DecodeFrame(Decoder(weights, sizes, codebooks)), precision, partial, codes)
            weights.check_all_used()
            manifest = CodecManifest(
                format=FORMAT if precision == "int8" else 1,
                fingerprint=codec_fingerprint(checkpoint, sizes, codebooks),
                sample_rate_hz=sizes.sample_rate,
                frame_samples=sizes.frame_samples,
                codebooks=codebooks,
                cardinality=sizes.quantizer.bins,
                precision=precision,
                encoder=encoder,
                decoder=decoder,
            )
            (partial / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
            if pcm is not None and report_wav is not None and precision == "int8":
                report = compare(manifest, partial / _FLOAT32, partial, pcm, report_wav.name)
                (partial / REPORT_FILE).write_text(report.to_json(), encoding="utf-8")
            (out / REPORT_FILE).unlink(missing_ok=True)  # of an earlier export
            for name in (encoder.file, decoder.file, *([REPORT_FILE] if report else []), MANIFEST_FILE):
                (partial / name).replace(out / name)
    except OSError as error:
        raise AntiphonError(f"{error.filename or out}: cannot be written ({error.strerror})") from error
    return ExportedCodec(manifest, report)


class _Frame(nn.Module):
    """Half of the codec with the signature of a graph: the states are positional tensors in the order of `names`."""

    file: str
    source: str
    result: str
    exact: tuple[str, ...]
    """Small matrices whose rounding would cost the most quality for the time that it saves: float32 at int8, too."""

    def __init__(self, mimi: Encoder | Decoder) -> None:
        super().__init__()
        self.mimi = mimi
        self.names = list(mimi.initial_state())

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y, after = self.step(x, dict(zip(self.names, states, strict=True)))
        return y, *(after[name] for name in self.names)

    def step(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError


class _EncodeFrame(_Frame):
    file, source, result = "encoder.onnx", "pcm", "codes"
    exact = ("mimi.seanet.layers.1.layers.1.weight", "mimi.quantizer.input_proj")

    def step(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        codes, after = self.mimi(x, state)  # [1, K]
        return codes[0].to(torch.int32), after


class _DecodeFrame(_Frame):
    file, source, result = "decoder.onnx", "codes", "pcm"
    exact = ("mimi.quantizer.output_proj",)

    def step(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        pcm, after = self.mimi(x[None], state)  # [frame_samples]
        return pcm, after


def trace(frame: _Frame, x: Tensor) -> onnx.ModelProto:
    """Exports one half, without rewrites."""
    with _quiet():
        program = torch.onnx.export(
            frame.eval(),
            (x, *frame.mimi.initial_state().values()),
            input_names=[frame.source, *frame.names],
            output_names=[frame.result, *(name + _NEXT for name in frame.names)],
            opset_version=OPSETS[""],
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _export(frame: _Frame, precision: Precision, folder: Path, inputs: npt.NDArray[Any]) -> CodecGraph:
    """Writes one half into `folder`; at int8 also its float32 graph, into the subfolder `_FLOAT32`.

    Args:
        frame: the half.
        precision: of the products.
        folder: where to.
        inputs: what it may be given, one frame a row; int8 rounds its matrices for those.
    """
    model = trace(frame, torch.zeros_like(torch.from_numpy(inputs[0])))
    _strip(model)
    split_elu(model.graph)
    keep_tables_once(model)
    states = tuple(
        GraphState(
            input=name,
            output=name + _NEXT,
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tuple(tensor.shape),
            in_place=_is_written_in_place(model.graph, name),
        )
        for name, tensor in frame.mimi.initial_state().items()
    )
    if precision == "int8":
        (folder / _FLOAT32).mkdir(exist_ok=True)
        (folder / _FLOAT32 / frame.file).write_bytes(model.SerializeToString())
        quantize(model, sample_inputs(model, frame.source, states, inputs), frame.exact)
    data = model.SerializeToString()
    (folder / frame.file).write_bytes(data)
    return CodecGraph(
        file=frame.file,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        input=frame.source,
        output=frame.result,
        states=states,
    )


def _is_written_in_place(graph: onnx.GraphProto, state: str) -> bool:
    """Whether the state's only reader is a ScatterND that makes its next value: then onnxruntime copies nothing."""
    readers = [node for node in graph.node if state in node.input]
    return [(node.op_type, node.input[0], node.output[0]) for node in readers] == [("ScatterND", state, state + _NEXT)]


def _strip(model: onnx.ModelProto) -> None:
    """Drops the exporter's metadata: stack traces, paths of this machine, and shapes that any runtime infers."""
    graph = model.graph
    model.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    graph.ClearField("value_info")
    for entry in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")


def codec_fingerprint(checkpoint: Path, sizes: MimiConfig, codebooks: int) -> str:
    """Hexadecimal SHA-256 of everything that determines the codes."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{sizes.canonical_json()}{codebooks}".encode())
    return digest.hexdigest()


@contextmanager
def _partial_files(out: Path) -> Iterator[Path]:
    """A temporary folder in `out`, from which each file can be moved into place atomically."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as folder:
        yield Path(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporter's deprecation warnings and its messages about packages that we do not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
