"""The codec at the edge: samples to codes and back on onnxruntime, one frame a step.

codec = Codec.load(Path("codec"))
encoder, decoder = codec.encoder(), codec.decoder()
pcm = decoder.step(encoder.step(pcm))
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from antiphon.codec_manifest import CodecManifest
from antiphon.codes import Codes
from antiphon.errors import AntiphonError, CodesError
from antiphon.spec import CodecSpec
from antiphon_edge.audio.pcm import Pcm, Samples, as_array, as_pcm
from antiphon_edge.codec.files import Half, open_graph, read_manifest
from antiphon_edge.codec.stream import Stream


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
        self.stream = Stream(session, manifest.encoder, self._pcm, self._codes)
        """What `step` advances, for whoever advances several at once between `put` and `take`."""

    def step(self, pcm: Samples) -> Codes:
        """Encodes one frame.

        Args:
            pcm: [frame_samples], floats in [−1, 1] or int16.

        Returns:
            The frame's codes, [codebooks] int32.

        Raises:
            AntiphonError: another length, or samples that are none; see `as_pcm`.
        """
        self.put(pcm)
        self.stream.advance()
        return self.take()

    def put(self, pcm: Samples) -> None:
        """Gives the stream its next frame; arguments and errors as `step`."""
        samples = as_pcm(pcm)
        if samples.shape != self._pcm.shape:
            raise AntiphonError(f"pcm: expected a frame of {self._pcm.size} samples, got {len(samples)}")
        self._pcm[:] = samples

    def take(self) -> Codes:
        """The codes [codebooks] of the frame that the stream has just advanced by."""
        if self._restart:
            self.stream.reset()
            self._restart = False
        return self._codes.copy()

    def reset(self) -> None:
        """Starts a new stream."""
        self.stream.reset()


class Decoder:
    """One stream of codes on its way to samples. Not for two threads at once; other streams may run beside it."""

    def __init__(self, session: ort.InferenceSession, manifest: CodecManifest) -> None:
        self._cardinality = manifest.cardinality
        self._codes = np.zeros(manifest.codebooks, np.int32)
        self._pcm = np.zeros(manifest.frame_samples, np.float32)
        self.stream = Stream(session, manifest.decoder, self._codes, self._pcm)
        """As `Encoder.stream`."""

    def step(self, codes: npt.ArrayLike) -> Pcm:
        """Decodes one frame.

        Args:
            codes: [codebooks] integers in [0, cardinality).

        Returns:
            The frame's samples, [frame_samples] float32.

        Raises:
            CodesError: another shape or dtype, or a code out of range.
        """
        self.put(codes)
        self.stream.advance()
        return self.take()

    def put(self, codes: npt.ArrayLike) -> None:
        """Gives the stream its next frame; arguments and errors as `step`."""
        frame = as_array(codes, "codes", CodesError)
        if frame.shape != self._codes.shape or not np.issubdtype(frame.dtype, np.integer):
            raise CodesError(
                f"codes: expected {self._codes.size} integers in a frame, got {frame.dtype} {list(frame.shape)}"
            )
        if frame.min() < 0 or frame.max() >= self._cardinality:
            raise CodesError(f"codes: {frame.tolist()} leave the range [0, {self._cardinality})")
        self._codes[:] = frame

    def take(self) -> Pcm:
        """The samples [frame_samples] of the frame that the stream has just advanced by."""
        return self._pcm.copy()

    def reset(self) -> None:
        """Starts a new stream."""
        self.stream.reset()
