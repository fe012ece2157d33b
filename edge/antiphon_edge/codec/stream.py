"""One stream's state between frames, and the graph that takes it from one to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from antiphon.codec_manifest import CodecGraph
from antiphon_edge.codec.files import ORT_ERRORS
from antiphon_edge.errors import CodecFilesError


class Stream:
    """Runs a graph frame after frame between two sets of states: one is read, the other written, then they swap.

    States that the graph updates in place are the same array in both.

    Args:
        session: runs the graph.
        graph: its description.
        source: where each frame is put.
        result: where what comes of it is found.
    """

    def __init__(
        self, session: ort.InferenceSession, graph: CodecGraph, source: npt.NDArray[Any], result: npt.NDArray[Any]
    ) -> None:
        self.source, self.result = source, result
        self._session, self._file = session, graph.file
        first = [np.zeros(state.shape, state.dtype) for state in graph.states]
        second = [array if state.in_place else array.copy() for array, state in zip(first, graph.states, strict=True)]
        self._states = (first, second)
        self._bindings = [session.io_binding() for _ in range(2)]
        self._turn = 0
        for turn, binding in enumerate(self._bindings):
            bind(binding.bind_input, graph.input, source)
            bind(binding.bind_output, graph.output, result)
            for state, before, after in zip(graph.states, self._states[turn], self._states[1 - turn], strict=True):
                bind(binding.bind_input, state.input, before)
                bind(binding.bind_output, state.output, after)

    @property
    def states(self) -> list[npt.NDArray[Any]]:
        """The states before the next frame, in the order of the graph's; whoever writes them steps the stream."""
        return self._states[self._turn]

    def advance(self) -> None:
        """One frame: from the source to the result, and from one set of states to the other.

        Raises:
            CodecFilesError: the graph looks beyond its own tables, which only a damaged one does.
        """
        run(self._session, self._bindings[self._turn], self._file)
        self._turn = 1 - self._turn

    def reset(self) -> None:
        """All states to zero."""
        for state in self.states:
            state.fill(0)


def run(session: ort.InferenceSession, binding: ort.IOBinding, file: str) -> None:
    """Runs a graph on what is bound.

    Raises:
        CodecFilesError: it fails, and names the file.
    """
    try:
        session.run_with_iobinding(binding)
    except (RuntimeError, *ORT_ERRORS) as error:
        reason = str(error).partition("\n")[0]
        raise CodecFilesError(f"{file}: fails at a frame ({reason}); pull or export the codec again") from error


def bind(bind: Any, name: str, array: npt.NDArray[Any]) -> None:
    """Binds an array's own memory, which must outlive the binding."""
    bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
