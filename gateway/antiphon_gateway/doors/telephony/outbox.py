"""Sound on its way to a telephone, which takes as much of it at a time as it says itself. Without I/O."""

from __future__ import annotations

from antiphon_edge.audio.pcm import BlockBuffer, Pcm


class Outbox:
    """Keeps the newest sound and drops the oldest when full: a conversation does not stay behind after a break.

    Args:
        most_samples: that wait.
    """

    def __init__(self, most_samples: int) -> None:
        self._most = most_samples
        self._buffer = BlockBuffer()

    def put(self, pcm: Pcm) -> None:
        """Appends samples [N]."""
        self._buffer.put(pcm)
        if (over := len(self._buffer) - self._most) > 0:
            self._buffer.take(over)

    def take(self, samples: int) -> Pcm:
        """The next samples, as many as that where so many wait, all of them otherwise."""
        return self._buffer.take(min(samples, len(self._buffer)))
