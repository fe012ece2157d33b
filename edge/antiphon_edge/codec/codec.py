"""The codec at the edge: samples to codes and back on onnxruntime, one frame a step.

codec = Codec.load(Path("codec"))
encoder, decoder = codec.encoder(), codec.decoder()
pcm = decoder.step(encoder.step(pcm))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from antiphon.codec_manifest import CodecGraph, CodecManifest
from antiphon.codes import Codes
from antiphon.errors import AntiphonError, CodesError
from antiphon.spec import CodecSpec
from antiphon_edge.audio.pcm import Pcm, Samples, as_array, as_pcm
from antiphon_edge.codec.files import ORT_ERRORS, Half, open_graph, read_manifest
from antiphon_edge.errors import CodecFilesError


class Codec:
    """An exported codec. Its weights are shared: every encoder and decoder adds only its own state."""

    def __init__(
        self, manifest: CodecManifest, encoder: ort.InferenceSession | None, decoder: ort.InferenceSession | None
    ) -> None:
        self.manifest = manifest
        self.spec: CodecSpec = manifest.spec
        self._encoder, self._decoder = encoder, decoder

    @classmethod
    def load(cls, folder: str | Path, threads: int = 1, *, only: Half | None = None) -> Codec:
        """Opens the folder that `antiphon-cloud export-codec` wrote or `antiphon-edge pull` fetched.

        Args:
            folder: holds `codec.json` and the files that it names.
            threads: threads that one step may use.
            only: the half that will be used, to spare the other's time and memory; None for both.

        Raises:
            CodecFilesError: a file is missing, damaged, or made by a newer version.
            AntiphonError: `threads` or `only` is none of the values above.
        """
        if threads < 1:
            raise AntiphonError(f"threads: expected 1 or more, got {threads}")
        if only not in (None, *get_args(Half)):
            raise AntiphonError(f'only: expected "encoder", "decoder" or None, got {only!r}')
        folder = Path(folder)
        manifest = read_manifest(folder)
        encoder = None if only == "decoder" else open_graph(folder, manifest, "encoder", threads)
        decoder = None if only == "encoder" else open_graph(folder, manifest, "decoder", threads)
        return cls(manifest, encoder, decoder)

    def encoder(self, *, restart: bool = False) -> Encoder:
        """An encoder at the start of its stream.

        Args:
            restart: whether it starts a new stream after its first frame, as the published servers do: a session's
                first frame is never heard, and so the second one is encoded as a stream's first.

        Raises:
            AntiphonError: the codec was loaded without it.
        """
        if self._encoder is None:
            raise AntiphonError('this codec was loaded with only="decoder": load it without, or with only="encoder"')
        return Encoder(self._encoder, self.manifest, restart)

    def decoder(self) -> Decoder:
        """A decoder at the start of its stream.

        Raises:
            AntiphonError: the codec was loaded without it.
        """
        if self._decoder is None:
            raise AntiphonError('this codec was loaded with only="encoder": load it without, or with only="decoder"')
        return Decoder(self._decoder, self.manifest)


class Encoder:
    """One stream of samples on its way to codes. Not for two threads at once; other streams may run beside it."""

    def __init__(self, session: ort.InferenceSession, manifest: CodecManifest, restart: bool = False) -> None:
        self._restart = restart
        self._pcm = np.zeros(manifest.frame_samples, np.float32)
        self._codes = np.zeros(manifest.codebooks, np.int32)
        self._stream = _Stream(session, manifest.encoder, self._pcm, self._codes)

    def step(self, pcm: Samples) -> Codes:
        """Encodes one frame.

        Args:
            pcm: [frame_samples], floats in [−1, 1] or int16.

        Returns:
            The frame's codes, [codebooks] int32.

        Raises:
            AntiphonError: another length, or samples that are none; see `as_pcm`.
        """
        samples = as_pcm(pcm)
        if samples.shape != self._pcm.shape:
            raise AntiphonError(f"pcm: expected a frame of {self._pcm.size} samples, got {len(samples)}")
        self._pcm[:] = samples
        self._stream.advance()
        if self._restart:
            self._stream.reset()
            self._restart = False
        return self._codes.copy()

    def reset(self) -> None:
        """Starts a new stream."""
        self._stream.reset()


class Decoder:
    """One stream of codes on its way to samples. Not for two threads at once; other streams may run beside it."""

    def __init__(self, session: ort.InferenceSession, manifest: CodecManifest) -> None:
        self._cardinality = manifest.cardinality
        self._codes = np.zeros(manifest.codebooks, np.int32)
        self._pcm = np.zeros(manifest.frame_samples, np.float32)
        self._stream = _Stream(session, manifest.decoder, self._codes, self._pcm)

    def step(self, codes: npt.ArrayLike) -> Pcm:
        """Decodes one frame.

        Args:
            codes: [codebooks] integers in [0, cardinality).

        Returns:
            The frame's samples, [frame_samples] float32.

        Raises:
            CodesError: another shape or dtype, or a code out of range.
        """
        frame = as_array(codes, "codes", CodesError)
        if frame.shape != self._codes.shape or not np.issubdtype(frame.dtype, np.integer):
            raise CodesError(
                f"codes: expected {self._codes.size} integers in a frame, got {frame.dtype} {list(frame.shape)}"
            )
        if frame.min() < 0 or frame.max() >= self._cardinality:
            raise CodesError(f"codes: {frame.tolist()} leave the range [0, {self._cardinality})")
        self._codes[:] = frame
        self._stream.advance()
        return self._pcm.copy()

    def reset(self) -> None:
        """Starts a new stream."""
        self._stream.reset()


class _Stream:
    """Runs a graph frame after frame between two sets of states: one is read, the other written, then they swap.

    States that the graph updates in place are the same array in both.
    """

    def __init__(
        self, session: ort.InferenceSession, graph: CodecGraph, source: npt.NDArray[Any], result: npt.NDArray[Any]
    ) -> None:
        self._session, self._file = session, graph.file
        first = [np.zeros(state.shape, state.dtype) for state in graph.states]
        second = [array if state.in_place else array.copy() for array, state in zip(first, graph.states, strict=True)]
        self._states = (first, second)
        self._bindings = [session.io_binding() for _ in range(2)]
        self._turn = 0
        for turn, binding in enumerate(self._bindings):
            _bind(binding.bind_input, graph.input, source)
            _bind(binding.bind_output, graph.output, result)
            for state, before, after in zip(graph.states, self._states[turn], self._states[1 - turn], strict=True):
                _bind(binding.bind_input, state.input, before)
                _bind(binding.bind_output, state.output, after)

    def advance(self) -> None:
        """One frame: from the source to the result, and from one set of states to the other.

        Raises:
            CodecFilesError: the graph looks beyond its own tables, which only a damaged one does.
        """
        try:
            self._session.run_with_iobinding(self._bindings[self._turn])
        except (RuntimeError, *ORT_ERRORS) as error:
            reason = str(error).partition("\n")[0]
            raise CodecFilesError(
                f"{self._file}: fails at a frame ({reason}); pull or export the codec again"
            ) from error
        self._turn = 1 - self._turn

    def reset(self) -> None:
        """All states to zero."""
        for state in self._states[self._turn]:
            state.fill(0)


def _bind(bind: Any, name: str, array: npt.NDArray[Any]) -> None:
    """Binds an array's own memory, which must outlive the binding."""
    bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
