"""The samples that a client has sent and the model has not heard. Without I/O."""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.pcm import BlockBuffer, Pcm


class Inbox:
    """Cuts a client's blocks into frames, and says when enough wait.

    Args:
        sample_rate_hz: of the samples.
        frame_samples: samples of a frame.
        most_s: seconds that may wait; the client is to send no more before there is room.
    """

    def __init__(self, sample_rate_hz: int, frame_samples: int, most_s: float) -> None:
        self._frame = frame_samples
        self._most = round(most_s * sample_rate_hz)
        self._buffer = BlockBuffer()

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def full(self) -> bool:
        """Whether the client should wait."""
        return len(self._buffer) >= self._most

    @property
    def has_frame(self) -> bool:
        """Whether a whole frame is there."""
        return len(self._buffer) >= self._frame

    def put(self, pcm: Pcm) -> None:
        """Appends samples [N]."""
        self._buffer.put(pcm)

    def shed(self) -> int:
        """Drops the oldest beyond what may wait, in whole frames, and returns how many samples that were."""
        over = max(0, len(self._buffer) - self._most)
        dropped = min(len(self._buffer), -(-over // self._frame) * self._frame)
        self._buffer.take(dropped)
        return dropped

    def clear(self) -> None:
        """Drops all."""
        self._buffer.take(len(self._buffer))

    def frame(self) -> Pcm | None:
        """The next whole frame [frame_samples]; None where there is none."""
        return self._buffer.take(self._frame) if self.has_frame else None

    def padded(self) -> Pcm:
        """What is there of a frame, and silence after it [frame_samples]."""
        there = self._buffer.take(min(len(self._buffer), self._frame))
        return np.pad(there, (0, self._frame - len(there)))
