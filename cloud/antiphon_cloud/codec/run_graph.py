"""Runs a half of an exported codec on onnxruntime, as one stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from antiphon.codec_manifest import CodecGraph


def open_session(graph: str | bytes) -> Any:
    """A session of the ONNX file named, or of one's content, on one thread."""
    import onnxruntime as ort  # a worker that only serves a codec does without

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")  # see `quantize`
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_graph(folder: Path, graph: CodecGraph, frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The results of one half of the codec in `folder` for each of `frames`."""
    session = open_session(str(folder / graph.file))
    outputs = [graph.output, *(state.output for state in graph.states)]

    def results() -> Iterator[npt.NDArray[Any]]:
        states: dict[str, npt.NDArray[Any]] = {
            state.input: np.zeros(state.shape, state.dtype) for state in graph.states
        }
        for frame in frames:
            result, *after = session.run(outputs, {graph.input: frame} | states)
            states = dict(zip(states, after, strict=True))
            yield result

    return np.stack(list(results()))
