"""Matches each reply to the frame that it answers, by content, to detect lost, repeated and swapped replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from antiphon.codes import Codes


@dataclass
class ReplyLedger:
    """Compares the replies that a session got with the expected ones, and counts the errors.

    Args:
        expected: the codes of every reply in order [frames, model_codebooks], each row unique. None if unknown: then
            every reply counts as the answer to the next frame.
        held_back: replies without codes at the start.
    """

    expected: npt.NDArray[np.int32] | None
    held_back: int
    answered: int = 0
    repeated: int = 0
    reordered: int = 0
    foreign: int = 0  # replies that answer no frame of this session
    _missing: set[int] = field(default_factory=set)
    _next: int = 0

    def __post_init__(self) -> None:
        rows: Sequence[npt.NDArray[np.int32]] = () if self.expected is None else self.expected[self.held_back :]  # type: ignore[assignment]
        self._frame_of = {row.tobytes(): index for index, row in enumerate(rows, self.held_back)}

    def enter(self, codes: Codes | None) -> None:
        """Records a reply, in order of arrival; `codes` is [model_codebooks], or None for a reply without codes."""
        if self.expected is None or (codes is None and self._next < self.held_back):
            frame: int | None = self._next
        else:
            frame = None if codes is None else self._frame_of.get(codes.tobytes())
        if frame is None:
            self.foreign += 1
        elif frame >= self._next:
            self._missing.update(range(self._next, frame))
            self._next = frame + 1
            self.answered += 1
        elif frame in self._missing:
            self._missing.remove(frame)
            self.reordered += 1
            self.answered += 1
        else:
            self.repeated += 1

    def lost(self, sent: int) -> int:
        """How many of the first `sent` frames have no reply."""
        return sent - self.answered
