"""How many steps of a session's past to compute between two steps of the others."""

from __future__ import annotations

from collections import deque

FRAME_MS = 80.0
SHORTEST_MS, LONGEST_MS = 20.0, 40.0  # of a chunk: so long another session's frame may wait, half a frame at the most
RECENT_STEPS = 25  # that tell how much of a frame is spare
FIRST_STEPS = 16  # before anything is measured, and at the most before a chunk is
MOST_STEPS = 512


class ChunkSize:
    """Chooses chunks that take half of what the steps leave of a frame; for one thread."""

    def __init__(self) -> None:
        self.steps = FIRST_STEPS
        """Of the next chunk."""
        self._step_ms: deque[float] = deque(maxlen=RECENT_STEPS)
        self._measured = False

    @property
    def target_ms(self) -> float:
        """How long a chunk may take."""
        spare = FRAME_MS - max(self._step_ms, default=0.0)
        return min(max(spare / 2, SHORTEST_MS), LONGEST_MS)

    def stepped(self, took_ms: float) -> None:
        """A step of the other sessions took so long; a step of the past takes no longer."""
        self._step_ms.append(took_ms)
        if not self._measured:
            self.steps = int(min(max(self.target_ms / max(took_ms, 1e-3), 1), FIRST_STEPS))

    def measured(self, steps: int, took_ms: float) -> None:
        """A chunk took so long. Grows by no more than twice: the last chunk may have been a lucky one."""
        self._measured = True
        fitting = steps * self.target_ms / max(took_ms, 1e-3)
        self.steps = int(min(max(fitting, self.steps / 4, 1), self.steps * 2, MOST_STEPS))
