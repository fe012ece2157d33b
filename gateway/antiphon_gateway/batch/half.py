"""A half of the codec that steps several streams in one run, each as if it ran alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from antiphon.codec_manifest import CodecGraph, CodecManifest, GraphState
from antiphon_edge.codec.files import session_options
from antiphon_edge.codec.memory import settle_memory
from antiphon_edge.codec.onnx_file import read_graph
from antiphon_edge.codec.stream import Stream, bind, run
from antiphon_gateway.batch.onnx_writer import write_graph
from antiphon_gateway.batch.rewrite import rewrite

STREAMS = 4  # of a batch: eight would take a tenth less time each, and be heard 15 ms later
WORTH = 3  # streams from which on a batch takes less time than they do one by one
LARGE_BYTES = 16 << 20  # of a half


class BatchHalf:
    """Steps up to `streams` streams of one half at once. For any thread.

    Args:
        folder: of the codec's files, which were checked.
        graph: of the half.
        streams: of a batch.
        worth: how many make one worth its while.
    """

    def __init__(self, folder: Path, graph: CodecGraph, streams: int = STREAMS, worth: int = WORTH) -> None:
        self.streams, self.worth = streams, worth
        self.lock = threading.Lock()
        """Held while a batch runs."""
        self._graph = graph
        data = (folder / graph.file).read_bytes()
        one = read_graph(memoryview(data))
        apart = [name for state in graph.states if state.in_place for name in (state.input, state.output)]
        model = write_graph(rewrite(one, streams, apart))
        self._session = ort.InferenceSession(model, session_options(1), providers=["CPUExecutionProvider"])
        settle_memory()
        self._binding = self._session.io_binding()
        self._kept = [k for k, state in enumerate(graph.states) if not state.in_place]
        self._before, self._after = ([self._array(graph.states[k]) for k in self._kept] for _ in range(2))
        for k, before, after in zip(self._kept, self._before, self._after, strict=True):
            bind(self._binding.bind_input, graph.states[k].input, before)
            bind(self._binding.bind_output, graph.states[k].output, after)
        self._ends: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None
        self._spare = [np.zeros(state.shape, state.dtype) for state in graph.states]

    def advance(self, streams: Sequence[Stream]) -> None:
        """One frame of each of the streams, which may be fewer than a batch has; errors as `Stream.advance`."""
        assert len(streams) <= self.streams, "as many as there are places"
        if not streams:
            return
        source, result = self._bound(streams[0])
        for place, stream in enumerate(streams):
            source[place] = stream.source
            for k, before in zip(self._kept, self._before, strict=True):
                before[place] = stream.states[k]
        for place in range(self.streams):
            states = streams[place].states if place < len(streams) else self._spare
            for k, state in enumerate(self._graph.states):
                if state.in_place:
                    bind(self._binding.bind_input, f"{state.input}@{place}", states[k])
                    bind(self._binding.bind_output, f"{state.output}@{place}", states[k])
        run(self._session, self._binding, self._graph.file)
        for place, stream in enumerate(streams):
            stream.result[...] = result[place]
            for k, after in zip(self._kept, self._after, strict=True):
                stream.states[k][...] = after[place]

    def _bound(self, stream: Stream) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Where the frames are put and what comes of them is found."""
        if self._ends is None:
            source, result = (np.zeros((self.streams, *end.shape), end.dtype) for end in (stream.source, stream.result))
            bind(self._binding.bind_input, self._graph.input, source)
            bind(self._binding.bind_output, self._graph.output, result)
            self._ends = source, result
        return self._ends

    def _array(self, state: GraphState) -> npt.NDArray[Any]:
        return np.zeros((self.streams, *state.shape), state.dtype)


@dataclass(frozen=True, slots=True)
class BatchCodec:
    """Both halves of a codec; None for one that no batch makes faster."""

    encoder: BatchHalf | None = None
    decoder: BatchHalf | None = None

    @classmethod
    def load(cls, folder: Path, manifest: CodecManifest) -> BatchCodec:
        """The halves whose weights the caches cannot hold, so that several streams had better share a reading of them.

        Args:
            folder: of the codec's files, which were checked.
            manifest: of them.
        """
        halves = (manifest.encoder, manifest.decoder)
        return cls(*(BatchHalf(folder, graph) if graph.size_bytes >= LARGE_BYTES else None for graph in halves))


ALONE = BatchCodec()
"""For a codec whose streams are stepped one by one."""
