"""Voice activity by meaning: when the person has come to a pause, as the model that listens has it."""

from __future__ import annotations

from antiphon_edge.client.events import Reply

THRESHOLD = 0.5  # of the published clients


class Pauses:
    """Tells once that the person has come to a pause, as the published clients do: after a word, not again before the
    next one. For models whose `ModelSpec.hears_pauses`; with any other it never does.

    Args:
        threshold: the probability from which on it is a pause; a lower one answers sooner and interrupts more often.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold
        self._spoke = False

    def add(self, reply: Reply, *, word: bool) -> bool:
        """Whether the pause begins with this reply.

        Args:
            reply: each of the session's, in order.
            word: a word was written with it; see `Words.add`.
        """
        begins = self._spoke and reply.pause is not None and reply.pause > self._threshold
        self._spoke = word or (self._spoke and not begins)
        return begins
