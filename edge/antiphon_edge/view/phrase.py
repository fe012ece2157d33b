"""What one side has said since it last paused."""

from __future__ import annotations

PAUSE_S = 1.0  # without another piece: the phrase is over


class Phrase:
    """Pieces of text that belong together."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._last_s = 0.0

    def add(self, piece: str, now_s: float) -> None:
        """The next piece, with the space before it."""
        self._pieces.append(piece)
        self._last_s = now_s

    def is_over(self, now_s: float) -> bool:
        """Whether nothing more has come for `PAUSE_S`."""
        return now_s - self._last_s >= PAUSE_S

    def take(self) -> str:
        """All of it; the next piece begins another phrase."""
        text = "".join(self._pieces).strip()
        self._pieces.clear()
        return text
