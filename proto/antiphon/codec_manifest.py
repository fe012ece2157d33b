"""`codec.json`: the description of an exported codec. The cloud writes it, both sides read it.

A graph takes one frame and every state by name, and returns its result and every state after the frame. The output
that an entry names becomes that entry's input at the next frame. All states are zeros before the first frame.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from antiphon.spec import CodecSpec

FORMAT = 2
"""The newest format. Raised when an older reader would misread or refuse the files: int8 has signed weights since 2."""

MANIFEST_FILE = "codec.json"

OPSETS = {"": 20, "com.microsoft": 1}
"""The versions of ONNX's operators and of onnxruntime's own that the graphs use; 20 is the first with Gelu."""

MAX_MANIFEST_BYTES = 1 << 20  # the published sizes give 40 kB
MAX_CODEC_BYTES = 1 << 30  # in all; the published sizes with 32 codebooks in float32 give 450 MB


@dataclass(frozen=True, slots=True)
class GraphState:
    """One tensor that a stream carries from frame to frame."""

    input: str
    output: str
    dtype: str
    """Name of the numpy dtype."""
    shape: tuple[int, ...]
    in_place: bool
    """Whether input and output may share memory: the graph writes a few rows before it reads the tensor."""


@dataclass(frozen=True, slots=True)
class CodecGraph:
    """One half of the codec: an ONNX file in the manifest's folder, complete in itself."""

    file: str
    size_bytes: int
    sha256: str
    """Hexadecimal."""
    input: str
    output: str
    states: tuple[GraphState, ...]


@dataclass(frozen=True, slots=True)
class CodecManifest:
    """The content of `codec.json`."""

    format: int
    fingerprint: str
    """Hexadecimal SHA-256 of the checkpoint, its sizes and the number of codebooks. Equal ones share
    their codes, whatever the precision of their graphs."""
    sample_rate_hz: int
    frame_samples: int
    codebooks: int
    cardinality: int
    precision: str
    encoder: CodecGraph
    """pcm [frame_samples] float32 in [−1, 1] → codes [codebooks] int32."""
    decoder: CodecGraph
    """codes [codebooks] int32 → pcm [frame_samples] float32."""

    @property
    def spec(self) -> CodecSpec:
        """The spec of the codec's codes.

        Raises:
            ValueError: the fingerprint is not hexadecimal.
        """
        return CodecSpec(
            fingerprint=bytes.fromhex(self.fingerprint),
            sample_rate_hz=self.sample_rate_hz,
            frame_samples=self.frame_samples,
            codebooks=self.codebooks,
            cardinality=self.cardinality,
        )

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=1) + "\n"
