"""What a step tells the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from antiphon_cloud.runner.graphs import PACKED_HEAD


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step's aligned output, one row for each slot that stepped; −2 while the delays hold it back."""

    text: npt.NDArray[np.int32]  # [n]
    codes: npt.NDArray[np.int32]  # [n, model_codebooks]
    finite: npt.NDArray[np.bool_]  # [n]: whether the logits were numbers; if not, the row means nothing
    fed: npt.NDArray[np.int32]  # [n]: the text token that the step put into its stream, before any delay
    drawn_text: npt.NDArray[np.int32]  # [n]: the token that was drawn for it
    heads: npt.NDArray[np.float32]  # [n, heads]: the probability of each extra head's first class

    @classmethod
    def unpack(cls, packed: npt.NDArray[np.int32], codebooks: int) -> StepResult:
        """The result that `pack_outputs` holds."""
        end = PACKED_HEAD + codebooks
        heads = np.ascontiguousarray(packed[:, end:]).view(np.float32)
        finite, fed, drawn, text = packed[:, :PACKED_HEAD].T
        return cls(text, packed[:, PACKED_HEAD:end], finite.astype(np.bool_), fed, drawn, heads)
