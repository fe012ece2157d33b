"""Whose clock a call runs by: its client's, and the gateway's own where the client is late. Without I/O."""

from __future__ import annotations

AHEAD_S = 1.0  # of its own clock: nobody speaks so
LONGEST_CHUNK_S = 1.0  # of a client that sends in chunks; who sends a file at once is not awaited for its length


class Pacer:
    """Tells when the model is to hear silence because nothing came.

    The model steps when it is given a frame. What a client sends goes to it at once; the client's frames are the clock
    while they come. A client owes its next samples when those that came last have lasted, and gets `grace_s` more:
    silence that cuts a word in two because a packet was late makes the model hear another word. After that it is fed
    silence, a frame every `frame_s`, until the client is back.

    Args:
        frame_s: seconds of a frame.
        grace_s: how late samples may be; None never feeds silence, for a client whose frames alone are the clock.
        now_s: when the call begins; silence is due `grace_s` later.
    """

    def __init__(self, frame_s: float, grace_s: float | None, now_s: float) -> None:
        self._frame_s = frame_s
        self._grace_s = grace_s
        self._due_s = now_s + (grace_s or 0.0)
        self._began_s: float | None = None  # with the first samples
        self._received_s = 0.0
        self.runs_ahead = False
        """Whether samples have come faster than one speaks: a file, which loses nothing where it would be late."""

    @property
    def due_s(self) -> float | None:
        """When silence is due; None for never."""
        return None if self._grace_s is None else self._due_s

    def heard(self, duration_s: float, now_s: float) -> None:
        """Samples of so many seconds came."""
        if self._began_s is None:
            self._began_s = now_s
        self._received_s += duration_s
        self.runs_ahead = self.runs_ahead or self._received_s > now_s - self._began_s + AHEAD_S
        self._due_s = max(self._due_s, now_s + min(duration_s, LONGEST_CHUNK_S) + (self._grace_s or 0.0))

    def filled(self, now_s: float) -> None:
        """A frame of silence was given; a clock that fell far behind does not catch up."""
        self._due_s = max(self._due_s + self._frame_s, now_s)
